"""``dsnet complexity``: parameters and MACs of the methods."""

from typing import Annotated

import typer

from benchmarks.commands.choices import Backbone
from benchmarks.methods import METHOD_NAMES


def complexity(
    backbone: Backbone = "cnn",
    max_frames: Annotated[int, typer.Option(min=16, help="Frames of 10 ms of the one utterance counted.")] = 600,
) -> None:
    """Counts parameters and MACs, on the paper's CNN beside the paper's."""
    from benchmarks.cost import counts_table, measure

    typer.echo(counts_table([measure(name, backbone, max_frames) for name in METHOD_NAMES], backbone == "cnn"))
    beside = "; in brackets the paper's Table 3, which has 600" if backbone == "cnn" else f" on {backbone}"
    typer.echo(f"\nfor one utterance of {max_frames} frames{beside}")
