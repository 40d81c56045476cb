"""The options that name a corpus, and what they say of it."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.corpora import CORPORA
from benchmarks.errors import CorpusError
from benchmarks.grid.spec import CorpusSpec

CorpusRoot = Annotated[
    Path | None,
    typer.Option(help="The corpus' folder; for 'manifest' a CSV file; 'synthetic' makes its own where none is given."),
]
Correlation = Annotated[
    float | None,
    typer.Option(
        help="Synthetic corpus alone: how strongly emotion goes with speaker, from 0 to below 1.  [default: 0.5]"
    ),
]


def corpus_spec(name: str, root: Path | None, correlation: float | None) -> CorpusSpec:
    """The corpus that the options name.

    Raises:
        CorpusError: a known corpus without its root, or a correlation for a real corpus.
    """
    if name != "synthetic" and correlation is not None:
        raise CorpusError(f"--correlation goes with --corpus synthetic alone, not with {name}")
    if name != "synthetic" and root is None and name in CORPORA:
        raise CorpusError(
            f"--corpus {name} needs --root with its folder; 'dsnet corpora {name}' says what is expected in it"
        )
    return CorpusSpec(name, name, root, () if correlation is None else (("correlation", correlation),))
