"""``dsnet predict``: the emotion of audio files."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.data.features import read_audio
from benchmarks.deploy.recogniser import Recogniser, missing_band, most_probable
from benchmarks.errors import AudioError, RunError
from benchmarks.output.formats import terminal
from benchmarks.output.table import Table


def predict(
    checkpoint: Annotated[Path, typer.Argument(help="A best.safetensors, or the fold's folder that holds it.")],
    files: Annotated[list[Path], typer.Argument(help="Audio files of any sampling rate and channel count.")],
    neutral: Annotated[
        Path | None,
        typer.Option(help="A neutral recording of the speaker of all FILES, for a method that needs one (dsc)."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list instead of a table.")] = False,
) -> None:
    """Tells the emotion of audio files.

    Files that cannot be read are named on standard error; the others are predicted all the same, and the status is 2.

    \b
    Example:
      dsnet predict runs/synthetic/synthetic/cnn/dsnet/seed-0/fold-00 hello.wav
    """
    recogniser = Recogniser(checkpoint)
    if recogniser.needs_neutral and neutral is None:
        raise RunError(
            f"{recogniser.name} needs neutral speech of the speaker of the files: give it with --neutral FILE"
        )
    if neutral is not None and not recogniser.needs_neutral:
        raise RunError(f"--neutral {neutral}: {recogniser.name} takes no neutral recording; leave the option out")
    beside = None if neutral is None else read_audio(neutral)
    predictions: list[dict[str, Any]] = []
    broken = []
    for file in files:
        try:
            waveform = read_audio(file)
        except AudioError as error:
            broken.append(str(error))
            continue
        if remark := missing_band(file):
            typer.echo(f"dsnet: {file}: {remark}", err=True)
        found = recogniser.probabilities(waveform, beside)
        predictions.append({"file": str(file), "emotion": most_probable(found), "probabilities": found})
    if as_json:
        typer.echo(json.dumps(predictions, indent=2))
    elif predictions:
        rows = [[p["file"], p["emotion"], *(f"{v:.3f}" for v in p["probabilities"].values())] for p in predictions]
        typer.echo(terminal(Table(["file", "emotion", *recogniser.classes], rows, left=2)))
    for line in broken:
        typer.echo(f"dsnet: {line}", err=True)
    if broken:
        raise typer.Exit(2)
