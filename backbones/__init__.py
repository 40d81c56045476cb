"""Encoders: what turns an utterance into features h for a head.

An encoder is a module with ``forward(inputs) -> (N, D)``, ``num_features`` (D) and ``input_kind`` (``"lmfb"``: shape
(N, 3, T, 80)). ``LogMelFilterBank`` makes that input from a waveform and needs torchaudio; the encoders do not.
"""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any, Protocol

from torch import Tensor

from backbones.cnn import AttentionPool, CNNEncoder
from backbones.frontend import SAMPLE_RATE, LogMelFilterBank, add_deltas, fit_frames, log_mel
from dsnet_plugin.errors import ConfigError

__all__ = [
    "SAMPLE_RATE",
    "AttentionPool",
    "CNNEncoder",
    "Encoder",
    "LogMelFilterBank",
    "add_deltas",
    "create_encoder",
    "fit_frames",
    "list_encoders",
    "log_mel",
]


class Encoder(Protocol):
    """What every encoder offers besides being a ``torch.nn.Module``."""

    num_features: int
    input_kind: str

    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs of its ``input_kind`` to features (N, ``num_features``)."""


_ENCODERS: dict[str, Callable[..., Any]] = {"cnn": CNNEncoder}


def list_encoders() -> list[str]:
    """The names that :func:`create_encoder` knows, sorted."""
    return sorted(_ENCODERS)


def create_encoder(name: str, **options: Any) -> Any:
    """Makes an encoder by its name: ``cnn`` is the paper's (:class:`CNNEncoder`).

    Args:
        name: one of :func:`list_encoders`.
        options: passed to the encoder's constructor.

    Returns:
        A module with ``num_features`` and ``input_kind``.

    Raises:
        ConfigError: an unknown name, or options that the encoder does not take.
    """
    if name not in _ENCODERS:
        near = get_close_matches(name, _ENCODERS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(list_encoders())}"
        raise ConfigError(f"unknown encoder {name!r}; {hint}")
    try:
        return _ENCODERS[name](**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"encoder {name!r} does not take these options: {error}") from error
