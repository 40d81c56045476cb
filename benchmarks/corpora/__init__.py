"""The corpora: one file each, all giving :class:`Utterance` records through :func:`load_corpus`."""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.corpora import (
    ased,
    casia,
    crema_d,
    emodb,
    emovo,
    esd,
    iemocap,
    manifest,
    msp_improv,
    nemo,
    ravdess,
    savee,
    shemo,
    synthetic,
    tess,
    urdu,
)
from benchmarks.corpora.base import EMOTION_COLORS, EMOTIONS, Corpus, CorpusInfo, Report, Utterance
from benchmarks.corpora.loading import collect
from benchmarks.corpora.synthetic import SyntheticSettings, default_root, generate
from benchmarks.errors import CorpusError

__all__ = [
    "CORPORA",
    "EMOTIONS",
    "EMOTION_COLORS",
    "Corpus",
    "CorpusInfo",
    "Report",
    "Utterance",
    "check_name",
    "load_corpus",
    "load_or_generate",
]

# In the order of every list of corpora: the paper's two first.
_MODULES = (
    iemocap,
    msp_improv,
    emodb,
    ravdess,
    crema_d,
    nemo,
    urdu,
    savee,
    tess,
    esd,
    emovo,
    casia,
    shemo,
    ased,
    synthetic,
    manifest,
)

CORPORA: dict[str, CorpusInfo] = {module.INFO.name: module.INFO for module in _MODULES}
"""What is known of each corpus, by the name that ``load_corpus`` and the command line take."""


def check_name(name: str) -> None:
    """Refuses what is no corpus.

    Raises:
        CorpusError: an unknown name; says which is near, or which there are.
    """
    if name not in CORPORA:
        near = get_close_matches(name, CORPORA, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(CORPORA))}"
        raise CorpusError(f"unknown corpus {name!r}; {hint}")


def load_corpus(name: str, root: str | Path, words: Mapping[str, str] | None = None) -> Corpus:
    """Reads the four-class part of a corpus from a folder (for ``manifest``: from a CSV file).

    Args:
        name: one of :data:`CORPORA`.
        root: the folder or file.
        words: for ``manifest`` alone: what further words of its labels mean, such as ``{"gioia": "happy"}``.

    Raises:
        CorpusError: an unknown name, no such folder, nothing of this corpus in it, or labels that cannot be.
    """
    check_name(name)
    module = next(module for module in _MODULES if module.INFO.name == name)
    if not words:
        return collect(module.INFO, module.utterances, Path(root))
    if module is not manifest:
        raise CorpusError(f"--map goes with manifest alone: the labels of {name} are known")
    return collect(module.INFO, partial(manifest.utterances, words=words), Path(root))


def load_or_generate(
    name: str, root: Path | None = None, words: Mapping[str, str] | None = None, **options: Any
) -> Corpus:
    """The corpus on disk; the synthetic one is generated first where it is not there.

    Args:
        name: see :func:`load_corpus`.
        root: the folder; None, for the synthetic corpus alone, is a folder in the cache.
        words: see :func:`load_corpus`.
        options: fields of ``SyntheticSettings``. Without any a folder that is there is taken as it is.

    Raises:
        CorpusError: see :func:`load_corpus`; an option out of its range; or ``root`` holds a corpus of other options.
    """
    if name == "synthetic":
        settings = SyntheticSettings(**options)
        if root is None or options or not root.exists():
            root = root or default_root(settings)
            generate(root, settings)
    return load_corpus(name, root or Path(), words)
