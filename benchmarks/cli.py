"""The command line."""

import json
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import soundfile
import torch
import typer

from backbones import SAMPLE_RATE, list_encoders, log_mel
from benchmarks import tables
from benchmarks.batches import collate
from benchmarks.checkpoint import load_model
from benchmarks.complexity import measure
from benchmarks.corpora import CORPORA, Corpus, load_corpus
from benchmarks.corpora.synthetic import SyntheticSettings, default_root, generate
from benchmarks.errors import AudioError, CorpusError
from benchmarks.experiment import run
from benchmarks.export import FILE_NAMES, export_model
from benchmarks.features import cut_waveform, read_audio
from benchmarks.methods import METHODS
from benchmarks.report import corpus_card, corpus_report, known_corpora
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


class Device(str, Enum):
    """Where to compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Precision(str, Enum):
    """Arithmetic of the encoder; losses are computed in fp32 in any case."""

    fp32 = "fp32"
    bf16 = "bf16"


class MissingNeutral(str, Enum):
    """What happens to training speakers without neutral speech."""

    error = "error"
    drop = "drop"
    mask = "mask"


CorpusRoot = Annotated[
    Path | None,
    typer.Option(help="The corpus' folder; for 'manifest' a CSV file; 'synthetic' makes its own where none is given."),
]
Backbone = Annotated[str, typer.Option(help=f"The encoder, one of {', '.join(list_encoders())}.")]
Correlation = Annotated[
    float | None,
    typer.Option(
        help="Synthetic corpus alone: how strongly emotion goes with speaker, from 0 to below 1.  [default: 0.5]"
    ),
]


@app.command()
def corpora(
    name: Annotated[str | None, typer.Argument(help="One of the names that 'dsnet corpora' lists.")] = None,
    root: CorpusRoot = None,
    correlation: Correlation = None,
) -> None:
    """Lists the known corpora, or what a folder holds.

    With a name, says what is expected of that corpus; with --root too, what was found there, and every problem.

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
        typer.echo(corpus_report(_open(name, root, correlation)))


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
        _open(corpus, root, correlation),
        list(dict.fromkeys(method.split(","))),
        settings,
        out or Path("runs") / f"{corpus}-seed{seed}",
        folds,
        device.value,
        skip_problems,
        say=typer.echo,
    )


@app.command()
def predict(
    checkpoint: Annotated[Path, typer.Argument(help="A best.safetensors, or the fold's folder that holds it.")],
    files: Annotated[list[Path], typer.Argument(help="Audio files of any sampling rate and channel count.")],
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list instead of a table.")] = False,
) -> None:
    """Tells the emotion of audio files.

    Files that cannot be read are named on standard error; the others are predicted all the same, and the status is 2.

    \b
    Example:
      dsnet predict runs/synthetic-seed0/dsnet/fold-00 hello.wav
    """
    model, record = load_model(checkpoint)
    predictions, broken = [], []
    for file in files:
        try:
            waveform = read_audio(file)
        except AudioError as error:
            broken.append(str(error))
            continue
        if (rate := soundfile.info(str(file)).samplerate) < SAMPLE_RATE:
            typer.echo(
                f"dsnet: {file}: {rate} Hz, so nothing above {rate // 2} Hz; trained on {SAMPLE_RATE} Hz", err=True
            )
        frames, kind = record["max_frames"], model.encoder.input_kind
        features = (cut_waveform if kind == "waveform" else log_mel)(waveform, frames)
        with torch.inference_mode():
            inputs = collate([features], frames, kind, torch.device("cpu"))
            probabilities = model(inputs).softmax(1)[0].tolist()
        by_class = dict(zip(record["classes"], probabilities, strict=True))
        predictions.append(
            {"file": str(file), "emotion": max(by_class, key=by_class.__getitem__), "probabilities": by_class}
        )
    if as_json:
        typer.echo(json.dumps(predictions, indent=2))
    elif predictions:
        rows = [
            [p["file"], p["emotion"], *(f"{value:.3f}" for value in p["probabilities"].values())] for p in predictions
        ]
        typer.echo(tables.markdown(["file", "emotion", *record["classes"]], rows, left=2))
    for line in broken:
        typer.echo(f"dsnet: {line}", err=True)
    if broken:
        raise typer.Exit(2)


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
        print(f"dsnet: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a folder that may not be written
        print(f"dsnet: {error}; what is finished is on disk, and the same command continues", file=sys.stderr)
        return 2
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    return 0


def _open(name: str, root: Path | None, correlation: float | None) -> Corpus:
    """The corpus on disk; the synthetic one is generated first where it is not there."""
    if name == "synthetic":
        settings = SyntheticSettings() if correlation is None else SyntheticSettings(correlation=correlation)
        if root is None or not root.exists():
            root = root or default_root(settings)
            generate(root, settings)
    elif correlation is not None:
        raise CorpusError(f"--correlation goes with --corpus synthetic alone, not with {name}")
    elif root is None and name in CORPORA:
        raise CorpusError(
            f"--corpus {name} needs --root with its folder; 'dsnet corpora {name}' says what is expected in it"
        )
    return load_corpus(name, root or Path())  # an unknown name has its error there
