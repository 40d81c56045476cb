"""``dsnet enrol``: a speaker whom a model will hear better."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.output.run_folder import model_file


def enrol(
    checkpoint: Annotated[Path, typer.Argument(help="A best.safetensors, or the fold's folder that holds it.")],
    name: Annotated[str, typer.Argument(help="What the speaker is called.")],
    files: Annotated[list[Path], typer.Argument(help="Neutral sentences of the speaker; one is enough.")],
) -> None:
    """Enrols a speaker from neutral sentences, for 'dsnet predict --speaker NAME'.

    The model must have been trained to take a reference (dsnet train --method dsnet-enrolled --enrol 1). What is kept, beside
    the checkpoint, is one vector and no recording.

    \b
    Example:
      dsnet enrol runs/ravdess/ravdess/cnn/dsnet-enrolled/seed-0/fold-00 anna neutral.wav
    """
    model_file(checkpoint)
    from benchmarks.deploy.enrolled import enrol_files, speaker_file
    from benchmarks.deploy.recogniser import Recogniser

    file = speaker_file(checkpoint, name)
    enrol_files(Recogniser(checkpoint), files).save(file)
    typer.echo(f"{file}: {name}, from {len(files)} recording{'s' * (len(files) > 1)}")
