"""``dsnet demo``: a local page for a trained model."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.errors import RunError
from benchmarks.output.run_folder import model_file


def demo(
    checkpoint: Annotated[Path, typer.Argument(help="A best.safetensors, or the fold's folder that holds it.")],
    host: Annotated[str, typer.Option(help="The address to listen on; any but loopback lets others in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 7860,
) -> None:
    """Shows a trained model at work on a local page.

    It takes a recording or a file and shows the probability of each emotion, the spectrogram, and where the utterance lies
    among the training utterances. A dsnet-enrolled is given a neutral sentence of the speaker first, and answers without it and
    with it. Nothing leaves the machine.

    \b
    Example:
      dsnet demo runs/synthetic/synthetic/cnn/dsnet/seed-0/fold-00
    """
    model_file(checkpoint)
    try:
        from benchmarks.deploy.demo_page import serve
    except ModuleNotFoundError as error:
        raise RunError(f"demo needs {error.name}: pip install 'dsnet_plugin[demo]'") from error
    serve(checkpoint, host, port, typer.echo)
