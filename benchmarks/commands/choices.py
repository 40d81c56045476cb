"""Choices that several commands offer."""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Annotated

import typer

from backbones import check_encoder, list_encoders
from benchmarks.data import EncoderSpec
from benchmarks.errors import RunError
from benchmarks.grid.yaml_reader import read_yaml


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

EncoderOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--encoder-option",
        metavar="KEY=VALUE",
        help="An option of the encoder, such as freeze=all, layer_weights=true or pooling=mean_std; several times for several.",
    ),
]
"""The encoder's options."""


def encoder_spec(name: str, options: Sequence[str] | None) -> EncoderSpec:
    """The encoder that the options name.

    Raises:
        ConfigError: an unknown name.
        RunError: an option without a value, or one given twice.
    """
    check_encoder(name)
    values: dict[str, object] = {}
    for entry in options or ():
        key, equals, value = entry.partition("=")
        if not (key and equals and value) or key in values:
            raise RunError(f"--encoder-option {entry}: expected KEY=VALUE, each key once, such as freeze=all")
        values[key] = read_yaml(value, f"--encoder-option {key}") if re.fullmatch(r"[\w.+-]+", value) else value
    return EncoderSpec(name, values)


Jobs = Annotated[int, typer.Option(min=1, help="Cells side by side, also several on one GPU.")]
"""How many cells are computed at a time."""
