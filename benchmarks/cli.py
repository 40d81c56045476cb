"""The command line."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from backbones import list_encoders
from benchmarks import tables
from benchmarks.commands import corpora
from benchmarks.commands.benchmark import benchmark
from benchmarks.commands.choices import Device, MissingNeutral, Precision
from benchmarks.commands.corpus_options import CorpusRoot, Correlation, LabelWords, open_corpus
from benchmarks.commands.demo import demo
from benchmarks.commands.predict import predict
from benchmarks.commands.report import report
from benchmarks.commands.speed import speed
from benchmarks.complexity import measure
from benchmarks.experiment import run
from benchmarks.export import FILE_NAMES, export_model
from benchmarks.methods import METHODS
from benchmarks.printable import printable
from benchmarks.settings import TrainingSettings
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


Backbone = Annotated[str, typer.Option(help=f"The encoder, one of {', '.join(list_encoders())}.")]
app.add_typer(corpora.app, name="corpora")
app.command()(benchmark)
app.command()(report)
app.command()(speed)


@app.command()
def train(
    corpus: Annotated[str, typer.Option(help="One of the names that 'dsnet corpora' lists.")] = "synthetic",
    root: CorpusRoot = None,
    method: Annotated[
        str, typer.Option(help=f"Of {', '.join(METHODS)}; several, with commas, are compared.")
    ] = "dsnet",
    backbone: Backbone = "cnn",
    folds: Annotated[
        str, typer.Option(help="Test speakers: 'all', or numbers such as 0,3 in the order of names.")
    ] = "all",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training speakers.")] = 100,
    max_frames: Annotated[
        int, typer.Option(min=16, help="Frames of 10 ms to which utterances are cut or repeated; time grows with them.")
    ] = 600,
    seed: Annotated[int, typer.Option(help="Of weights, order, dropout and neutral references.")] = 0,
    device: Annotated[Device, typer.Option(help="Where to compute; auto takes CUDA where there is one.")] = Device.auto,
    precision: Annotated[Precision, typer.Option(help="bf16 is faster on CUDA and on recent CPUs.")] = Precision.fp32,
    missing_neutral: Annotated[
        MissingNeutral,
        typer.Option(help="Training speakers without neutral speech: refuse, drop them, or mask their calibration."),
    ] = MissingNeutral.error,
    skip_problems: Annotated[
        bool, typer.Option(help="Go on without missing or unreadable files; says how many.")
    ] = False,
    correlation: Correlation = None,
    words: LabelWords = None,
    out: Annotated[
        Path | None, typer.Option(help="Results, checkpoints, curves.  [default: runs/CORPUS-seedSEED]")
    ] = None,
) -> None:
    """Trains and scores by leaving one speaker out.

    The epoch is chosen on a validation speaker, never on the test speaker. Started again, the same command goes on where
    it was stopped.

    \b
    Example:
      dsnet train --corpus ravdess --root ~/data/ravdess --method baseline,dsnet --folds 0 --epochs 3
    """
    settings = TrainingSettings(
        encoder=backbone,
        epochs=epochs,
        max_frames=max_frames,
        seed=seed,
        precision=precision.value,
        missing_neutral=missing_neutral.value,
    )
    run(
        open_corpus(corpus, root, correlation, words),
        list(dict.fromkeys(method.split(","))),
        settings,
        out or Path("runs") / f"{corpus}-seed{seed}",
        folds,
        device.value,
        skip_problems,
        say=typer.echo,
    )


app.command()(predict)
app.command()(demo)


@app.command()
def complexity(
    backbone: Backbone = "cnn",
    max_frames: Annotated[int, typer.Option(min=16, help="Frames of 10 ms of the one utterance counted.")] = 600,
) -> None:
    """Counts parameters and MACs, on the paper's CNN beside the paper's."""
    typer.echo(tables.complexity([measure(name, backbone, max_frames) for name in METHODS], backbone == "cnn"))
    beside = "; in brackets the paper's Table 3, which has 600" if backbone == "cnn" else f" on {backbone}"
    typer.echo(f"\nfor one utterance of {max_frames} frames{beside}")


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="A best.safetensors, or the fold's folder that holds it.")],
    form: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FILE_NAMES)}.")],
    out: Annotated[
        Path | None,
        typer.Option(help=f"A file or folder.  [default: {', '.join(FILE_NAMES.values())} beside the checkpoint]"),
    ] = None,
) -> None:
    """Writes the model for deployment: features to logits, without what serves training alone.

    Classes and front end are in the file as JSON under the key 'dsnet': of ONNX in metadata_props, of the others among
    their extra files.

    \b
    Example:
      dsnet export runs/synthetic-seed0/dsnet/fold-00 --format onnx
    """
    typer.echo(str(export_model(checkpoint, form, out)))


def run_app() -> int:
    """Runs the command line and returns its exit status; a refused input is one line and status 2."""
    try:
        app(prog_name="dsnet")
    except DSNetError as error:
        print(f"dsnet: {printable(' '.join(str(error).split()))}", file=sys.stderr)
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
