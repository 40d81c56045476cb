"""The corpora: one file each, all giving :class:`Utterance` records through :func:`load_corpus`."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from benchmarks.corpora import (
    crema_d,
    emodb,
    esd,
    iemocap,
    manifest,
    msp_improv,
    nemo,
    ravdess,
    savee,
    synthetic,
    tess,
    urdu,
)
from benchmarks.corpora.base import EMOTION_COLORS, EMOTIONS, Corpus, CorpusInfo, Report, Utterance, collect
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
    "load_corpus",
    "load_or_generate",
]

# In the order of every list of corpora: the paper's two first.
_MODULES = (iemocap, msp_improv, emodb, ravdess, crema_d, nemo, urdu, savee, tess, esd, synthetic, manifest)

CORPORA: dict[str, CorpusInfo] = {module.INFO.name: module.INFO for module in _MODULES}
"""What is known of each corpus, by the name that ``load_corpus`` and the command line take."""


def load_corpus(name: str, root: str | Path) -> Corpus:
    """Reads the four-class part of a corpus from a folder (for ``manifest``: from a CSV file).

    Raises:
        CorpusError: an unknown name, no such folder, nothing of this corpus in it, or labels that cannot be.
    """
    if name not in CORPORA:
        near = get_close_matches(name, CORPORA, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(CORPORA))}"
        raise CorpusError(f"unknown corpus {name!r}; {hint}")
    module = next(module for module in _MODULES if module.INFO.name == name)
    return collect(module.INFO, module.utterances, Path(root))


def load_or_generate(name: str, root: Path | None = None, **options: Any) -> Corpus:
    """The corpus on disk; the synthetic one is generated first where it is not there.

    Args:
        name: see :func:`load_corpus`.
        root: the folder; None, for the synthetic corpus alone, is a folder in the cache.
        options: fields of ``SyntheticSettings``. Without any a folder that is there is taken as it is.

    Raises:
        CorpusError: see :func:`load_corpus`; an option out of its range; or ``root`` holds a corpus of other options.
    """
    if name == "synthetic":
        settings = SyntheticSettings(**options)
        if root is None or options or not root.exists():
            root = root or default_root(settings)
            generate(root, settings)
    return load_corpus(name, root or Path())
