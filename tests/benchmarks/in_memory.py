"""Cells of a corpus in memory: what ``run_cell`` takes."""

from benchmarks.grid.cell import CellContext
from benchmarks.grid.corpus_data import CorpusData
from benchmarks.grid.plan import PlannedCell
from benchmarks.grid.spec import CorpusSpec, MethodSpec
from benchmarks.training.device import make_accelerator
from benchmarks.training.identity import CorpusIdentity


def planned(method, settings, fold=0, config=None, folder="", corpus="small"):
    """A cell that leaves one speaker out; its files go into the run's folder itself."""
    spec = MethodSpec(method, method, config or {})
    return PlannedCell(folder, spec, CorpusSpec(corpus, "synthetic"), (), "loso", fold, settings, "lmfb")


def identity_of(data, corpus="small"):
    """What identifies the corpus of the data."""
    return CorpusIdentity(corpus, "synthetic", len(data.utterances), "0" * 16)


def context_of(data, out, precision="fp32", corpus="small"):
    """Where such a cell is computed."""
    return CellContext(
        out, make_accelerator("cpu", precision), lambda spec: CorpusData(identity_of(data, corpus), data)
    )
