"""``dsnet complexity``: parameters and MACs of the methods."""

from typing import Annotated

import typer

from benchmarks.commands.choices import Backbone, EncoderOptions, encoder_spec
from benchmarks.data import PAPERS_CNN
from benchmarks.methods import METHOD_NAMES


def complexity(
    backbone: Backbone = "cnn",
    encoder_option: EncoderOptions = None,
    max_frames: Annotated[int, typer.Option(min=16, help="Frames of 10 ms of the one utterance counted.")] = 600,
) -> None:
    """Counts parameters and MACs, on the paper's CNN beside the paper's."""
    from benchmarks.cost import counts_table, measure

    encoder = encoder_spec(backbone, encoder_option)
    is_papers = encoder == PAPERS_CNN
    typer.echo(counts_table([measure(name, encoder, max_frames) for name in METHOD_NAMES], is_papers))
    beside = "; in brackets the paper's Table 3, which has 600" if is_papers else f" on {encoder.title}"
    typer.echo(f"\nfor one utterance of {max_frames} frames{beside}")
