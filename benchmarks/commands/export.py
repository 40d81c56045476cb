"""``dsnet export``: a trained model for deployment."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.deploy.export_files import FILE_NAMES, check_form
from benchmarks.output.run_folder import model_file


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A best.safetensors, or the fold's folder that holds it.")],
    form: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FILE_NAMES)}.")],
    out: Annotated[
        Path | None,
        typer.Option(help=f"A file or folder.  [default: {', '.join(FILE_NAMES.values())} beside the checkpoint]"),
    ] = None,
) -> None:
    """Writes the model for deployment: features to logits, without what serves training alone.

    A dsnet-enrolled has the features of a neutral sentence as an input and those of what it hears as an output.

    Classes and front end are in the file as JSON under the key 'dsnet': of ONNX in metadata_props, of the others among
    their extra files.

    \b
    Example:
      dsnet export runs/synthetic/synthetic/cnn/dsnet/seed-0/fold-00 --format onnx
    """
    check_form(form)
    model_file(checkpoint)
    from benchmarks.deploy.export import export_model

    typer.echo(str(export_model(checkpoint, form, out)))
