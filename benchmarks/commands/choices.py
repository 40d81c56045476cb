"""Choices that several commands offer."""

from enum import Enum
from typing import Annotated

import typer

from backbones import list_encoders


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


Backbone = Annotated[str, typer.Option(help=f"The encoder, one of {', '.join(list_encoders())}.")]
"""The encoder, by name."""

Jobs = Annotated[int, typer.Option(min=1, help="Cells side by side, also several on one GPU.")]
"""How many cells are computed at a time."""
