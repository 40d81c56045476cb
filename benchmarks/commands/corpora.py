"""``dsnet corpora``: lists the corpora, looks into a folder, downloads an open corpus."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from benchmarks.commands.corpus_options import CorpusRoot, Correlation, corpus_spec
from benchmarks.corpora import CORPORA
from benchmarks.corpora.cards import corpus_card, corpus_report, corpus_summary, known_corpora
from benchmarks.corpora.sources import SOURCES
from benchmarks.errors import CorpusError, FetchError
from benchmarks.grid.plan import open_corpus


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
) -> None:
    """Lists corpora, or what a folder holds.

    The word 'show' may be left out. With a name, says what is expected of that corpus; with --root too, what was found there, and every problem.

    \b
    Example:
      dsnet corpora ravdess --root ~/data/ravdess
    """
    if name is None:
        if root is not None:
            raise CorpusError(f"--root {root} needs the corpus' name, such as: dsnet corpora ravdess --root {root}")
        typer.echo(known_corpora())
    elif root is None and name in CORPORA and name != "synthetic":
        typer.echo(corpus_card(CORPORA[name]))
    else:
        typer.echo(corpus_report(open_corpus(corpus_spec(name, root, correlation))))


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(SOURCES)}.")],
    to: Annotated[
        Path | None, typer.Option(help="The corpus' folder, new or empty.  [default: corpora/NAME in the cache]")
    ] = None,
) -> None:
    """Downloads an open corpus.

    It comes from its own source; the licence is said before. A download that was broken off goes on with the same command; the folder appears when all is there.

    \b
    Example:
      dsnet corpora fetch ravdess --to ~/data/ravdess
    """
    try:
        from benchmarks.corpora import fetch as fetching
    except ModuleNotFoundError as error:
        raise FetchError(f"corpora fetch needs {error.name}: pip install 'dsnet_plugin[fetch]'") from error
    corpus = fetching.fetch(name, to, typer.echo)
    typer.echo(corpus_summary(corpus))
    typer.echo(f"go on with: dsnet train --corpus {name} --root {shlex.quote(str(corpus.root))}")
