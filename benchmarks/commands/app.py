"""The command line: registers the commands and turns their errors into one line and a status."""

import sys

import typer

from benchmarks.commands import corpora
from benchmarks.commands.benchmark import benchmark
from benchmarks.commands.complexity import complexity
from benchmarks.commands.demo import demo
from benchmarks.commands.enrol import enrol
from benchmarks.commands.export import export
from benchmarks.commands.predict import predict
from benchmarks.commands.report import report
from benchmarks.commands.speed import speed
from benchmarks.commands.train import train
from benchmarks.output.printable import one_line, printable
from dsnet_plugin import DSNetError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="""DSNet for speech emotion recognition: train it, compare it with its baseline, use it on audio files.

    \b
    A first look, on a corpus that is made on the spot:
      dsnet train --method baseline,dsnet --epochs 3 --max-frames 100
    Your own recordings, listed in a CSV file with the columns path,speaker,label:
      dsnet corpora manifest --root my.csv
      dsnet train --corpus manifest --root my.csv
    """,
)


app.add_typer(corpora.app, name="corpora")
app.command()(benchmark)
app.command()(report)
app.command()(speed)
app.command()(train)
app.command()(predict)
app.command()(enrol)
app.command()(demo)
app.command()(complexity)
app.command()(export)


def run_app() -> int:
    """Runs the command line and returns its exit status; a refused input is one line and status 2."""
    try:
        app(prog_name="dsnet")
    except DSNetError as error:
        print(f"dsnet: {one_line(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a folder that may not be written
        print(
            f"dsnet: {printable(str(error))}; what is finished is on disk, and the same command continues",
            file=sys.stderr,
        )
        return 2
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    return 0
