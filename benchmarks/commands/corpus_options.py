"""The options that name a corpus, and what they say of it."""

from collections.abc import Sequence
from os.path import expanduser  # that of Path raises where there is no such user
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.errors import CorpusError

if TYPE_CHECKING:
    from benchmarks.grid.spec import CorpusSpec

CorpusRoot = Annotated[
    Path | None,
    typer.Option(
        help="The corpus' folder; for 'manifest' a CSV file with the columns path, speaker, label; 'synthetic' makes its own where none is given."
    ),
]
Correlation = Annotated[
    float | None,
    typer.Option(
        help="Synthetic corpus alone: how strongly emotion goes with speaker, from 0 to below 1.  [default: 0.5]"
    ),
]
LabelWords = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="WORD=LABEL",
        help="Manifest alone: what a word of its column 'label' means, as gioia=happy; may be given many times.",
    ),
]


def corpus_spec(
    name: str, root: Path | None, correlation: float | None, words: Sequence[str] | None = None
) -> "CorpusSpec":
    """The corpus that the options name.

    Raises:
        CorpusError: an unknown corpus, a real corpus without a root, with one that is not there or with a correlation, or a
            word with two meanings.
    """
    from benchmarks.corpora import check_name
    from benchmarks.corpora.audio_files import AudioFiles
    from benchmarks.grid.spec import CorpusSpec

    check_name(name)
    if name != "synthetic" and correlation is not None:
        raise CorpusError(f"--correlation goes with --corpus synthetic alone, not with {name}")
    if name != "synthetic" and root is None:
        raise CorpusError(
            f"--corpus {name} needs --root with its folder; 'dsnet corpora {name}' says what is expected in it"
        )
    if name != "synthetic" and root is not None:
        AudioFiles(Path(expanduser(root)))  # refuses what is not there
    meanings: dict[str, str] = {}
    for entry in words or ():
        word, sign, label = entry.partition("=")
        if not sign or meanings.setdefault(word, label) != label:
            raise CorpusError(f"--map {entry}: expected WORD=LABEL, each word once, as in --map gioia=happy")
    options = () if correlation is None else (("correlation", correlation),)
    return CorpusSpec(name, name, root, options, tuple(sorted(meanings.items())))
