"""Encoders: what turns an utterance into features h for a head.

An encoder is a module with ``forward(inputs) -> (N, D)``, ``num_features`` (D) and ``input_kind``: ``"lmfb"``, shape
(N, 3, T, 80), or ``"waveform"``, shape (N, samples) at 16 kHz, or for a padded batch a dict of ``waveform`` and ``mask``.
``LogMelFilterBank`` makes the first from the second and needs torchaudio; timm's and transformers' models need those.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from inspect import signature
from typing import TYPE_CHECKING, Any, Protocol

from dsnet_plugin.errors import ConfigError
from dsnet_plugin.late import late_names

if TYPE_CHECKING:
    from torch import Tensor, nn

    from backbones.cnn import CNNEncoder
    from backbones.feature_encoder import FeatureEncoder
    from backbones.frontend import SAMPLE_RATE, LogMelFilterBank, add_deltas, fit_frames, log_mel, num_samples
    from backbones.frozen import FrozenEncoder
    from backbones.hf_encoder import HFEncoder
    from backbones.pooling import AttentionPool
    from backbones.timm_encoder import TimmEncoder
else:
    __getattr__ = late_names(
        __name__,
        {
            "cnn": ["CNNEncoder"],
            "feature_encoder": ["FeatureEncoder"],
            "frontend": ["SAMPLE_RATE", "LogMelFilterBank", "add_deltas", "fit_frames", "log_mel", "num_samples"],
            "frozen": ["FrozenEncoder"],
            "hf_encoder": ["HFEncoder"],
            "pooling": ["AttentionPool"],
            "timm_encoder": ["TimmEncoder"],
        },
    )

__all__ = [
    "SAMPLE_RATE",
    "AttentionPool",
    "CNNEncoder",
    "Encoder",
    "FeatureEncoder",
    "FrozenEncoder",
    "HFEncoder",
    "LogMelFilterBank",
    "TimmEncoder",
    "add_deltas",
    "create_encoder",
    "create_frozen_encoder",
    "fit_frames",
    "list_encoders",
    "log_mel",
    "num_samples",
]


class Encoder(Protocol):
    """What every encoder offers besides being a ``torch.nn.Module``."""

    num_features: int
    input_kind: str

    def __call__(self, inputs: "Tensor | Mapping[str, Tensor]") -> "Tensor":
        """Turns inputs of its ``input_kind`` into features (N, ``num_features``)."""


def list_encoders() -> list[str]:
    """The names that :func:`create_encoder` knows, sorted; ``<...>`` stands for what timm, a folder or the hub offers."""
    return ["cnn", "hf/<id or folder>", "timm/<name>"]


def check_encoder(name: str) -> None:
    """Refuses a name that :func:`create_encoder` does not know.

    Raises:
        ConfigError: names those that it knows.
    """
    family, _, rest = name.partition("/")
    if name != "cnn" and not (family in ("hf", "timm") and rest):
        known = list_encoders()
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise ConfigError(f"unknown encoder {name!r}; {hint}")


def create_encoder(name: str, **options: Any) -> Any:
    """Makes an encoder by its name.

    Args:
        name: ``cnn``, the paper's (:class:`CNNEncoder`); ``timm/NAME`` (:class:`TimmEncoder`); ``hf/ID`` or ``hf/FOLDER``
            (:class:`HFEncoder`).
        options: passed to the encoder's constructor.

    Returns:
        A module with ``num_features`` and ``input_kind``.

    Raises:
        ConfigError: an unknown name, or options that the encoder does not take.
        DSNetError: timm or transformers is needed and not installed.

    Example:
        >>> import torch
        >>> encoder = create_encoder("cnn")
        >>> encoder.input_kind, encoder(torch.randn(2, 3, 100, 80)).shape
        ('lmfb', torch.Size([2, 256]))
    """
    check_encoder(name)
    from backbones.cnn import CNNEncoder
    from backbones.hf_encoder import HFEncoder
    from backbones.timm_encoder import TimmEncoder

    family, _, rest = name.partition("/")
    kinds: dict[str, type[nn.Module]] = {"cnn": CNNEncoder, "timm": TimmEncoder, "hf": HFEncoder}
    kind = kinds[family]
    if kind is not TimmEncoder and (surplus := sorted(options.keys() - set(signature(kind).parameters))):
        offered = sorted(signature(kind).parameters.keys() - {"source", "record"})
        raise ConfigError(f"encoder {name!r} has no option {surplus[0]!r}; it takes {', '.join(offered)}")
    try:
        return kind(**options) if name == "cnn" else kind(rest, **options)
    except ConfigError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigError(f"encoder {name!r} does not take these options: {error}") from error


def create_frozen_encoder(name: str, **options: Any) -> "FrozenEncoder":
    """Makes an encoder whose weights stay as they are, for features that are computed once.

    Args:
        name: ``timm/NAME`` or ``hf/...``; the paper's CNN has no pretrained weights.
        options: those of the encoder's constructor; ``freeze`` is ``"all"`` in any case.

    Raises:
        ConfigError: see :func:`create_encoder`; or an encoder that is not pretrained, or whose pooling learns.
    """
    from backbones.frozen import FrozenEncoder

    if name == "cnn":
        raise ConfigError("freeze='all' on cnn, which has no pretrained weights; freeze a timm or an hf encoder")
    if options.get("pooling") == "attention":
        raise ConfigError(
            "pooling='attention' learns, and a frozen encoder's frames are pooled once; use mean or mean_std"
        )
    if name.startswith("timm/") and not (options.get("pretrained") or options.get("checkpoint_path")):
        raise ConfigError(
            f"freeze='all' on {name} without pretrained weights; add pretrained=true, or checkpoint_path=FILE"
        )
    return FrozenEncoder(create_encoder(name, **{**options, "freeze": "all"}))
