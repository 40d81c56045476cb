"""The corpora: one file each, all giving :class:`Utterance` records through :func:`load_corpus`."""

from difflib import get_close_matches
from pathlib import Path

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
from benchmarks.corpora.base import EMOTIONS, Corpus, CorpusInfo, Report, Utterance, collect
from benchmarks.errors import CorpusError

__all__ = ["CORPORA", "EMOTIONS", "Corpus", "CorpusInfo", "Report", "Utterance", "load_corpus"]

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
