"""``dsnet corpora``: lists the corpora, looks into a folder, downloads an open corpus."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from benchmarks.commands.corpus_options import CorpusRoot, Correlation, LabelWords, corpus_spec
from benchmarks.corpora.sources import SOURCES
from benchmarks.errors import CorpusError, FetchError
from benchmarks.output.printable import printable_lines

if TYPE_CHECKING:
    from benchmarks.corpora import Corpus


class _ShowUnlessNamed(TyperGroup):
    """Takes ``corpora ravdess`` for ``corpora show ravdess``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, "--help"):
            args = ["show", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_ShowUnlessNamed,
    rich_markup_mode=None,
    help="""Lists corpora, checks a folder, downloads.

    \b
    Examples:
      dsnet corpora                                   all that are known
      dsnet corpora ravdess                           what is expected of one
      dsnet corpora ravdess --root ~/data/ravdess     what is in a folder
      dsnet corpora fetch ravdess                     download an open one
    """,
)


@app.command()
def show(
    name: Annotated[str | None, typer.Argument(help="One of the names that 'dsnet corpora' lists.")] = None,
    root: CorpusRoot = None,
    correlation: Correlation = None,
    words: LabelWords = None,
    shortcuts: Annotated[
        bool, typer.Option("--shortcuts", help="Whether duration, level, silence or text alone tell the class.")
    ] = False,
) -> None:
    """Lists corpora, or what a folder holds.

    The word 'show' may be left out. With a name, says what is expected of that corpus; with --root too, what was found
    there: counts, durations, rates, silence, and every problem. The status is 2 where nothing can be used.

    A manifest is a CSV file with the columns path, speaker and label, and if wanted key, sex, session, text, start and end.
    Relative paths start at the file's folder; start and end, in seconds, make a row a part of its file.

    \b
    Example:
      dsnet corpora ravdess --root ~/data/ravdess
    """
    from benchmarks.corpora import CORPORA
    from benchmarks.corpora.cards import corpus_card, corpus_report, known_corpora
    from benchmarks.grid.spec import open_corpus

    if name is None:
        if root is not None:
            raise CorpusError(f"--root {root} needs the corpus' name, such as: dsnet corpora ravdess --root {root}")
        typer.echo(known_corpora())
    elif root is None and name in CORPORA and name != "synthetic":
        typer.echo(corpus_card(CORPORA[name]))
    else:
        corpus = open_corpus(corpus_spec(name, root, correlation, words))
        typer.echo(corpus_report(corpus))
        if not corpus.utterances:
            raise CorpusError(f"nothing in {corpus.root} can be used; the lines above say why")
        _describe(corpus, shortcuts)


def _describe(corpus: "Corpus", shortcuts: bool) -> None:
    """Prints what the recordings are like and, if asked, what beside the voice tells the class."""
    from benchmarks.data.recordings import describe_recordings, recordings_report  # torch and scikit-learn

    recordings = describe_recordings(corpus.utterances)
    typer.echo(f"\n{printable_lines(recordings_report(recordings, corpus.utterances))}")
    if shortcuts:
        from benchmarks.data.shortcuts import find_shortcuts, shortcuts_report

        typer.echo(f"\n{shortcuts_report(find_shortcuts(corpus.utterances, recordings))}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(SOURCES)}.")],
    to: Annotated[
        Path | None, typer.Option(help="The corpus' folder, new or empty.  [default: corpora/NAME in the cache]")
    ] = None,
) -> None:
    """Downloads an open corpus.

    The corpus comes from its own source; its licence is printed first. A download that was broken off goes on with the same
    command; the folder appears when all is there.

    \b
    Example:
      dsnet corpora fetch ravdess --to ~/data/ravdess
    """
    try:
        from benchmarks.corpora import fetch as fetching
    except ModuleNotFoundError as error:
        raise FetchError(f"corpora fetch needs {error.name}: pip install 'dsnet_plugin[fetch]'") from error
    corpus = fetching.fetch(name, to, typer.echo)
    from benchmarks.corpora.cards import corpus_summary

    typer.echo(corpus_summary(corpus))
    typer.echo(f"go on with: dsnet train --corpus {name} --root {shlex.quote(str(corpus.root))}")
