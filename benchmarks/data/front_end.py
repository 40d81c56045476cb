"""Frozen encoders, what is trained on them, and front ends, made from the words of a specification."""

from dataclasses import replace
from functools import lru_cache
from typing import Any

from backbones import FeatureEncoder, FrozenEncoder, create_encoder, create_frozen_encoder
from benchmarks.data.encoder_spec import EncoderSpec, FrontEnd
from dsnet_plugin import ConfigError


@lru_cache(maxsize=2)
def load_frozen(spec: EncoderSpec) -> FrozenEncoder:
    """Loads a frozen encoder, whatever digest is wanted."""
    return create_frozen_encoder(spec.name, **spec.options)


def frozen_encoder(spec: EncoderSpec) -> FrozenEncoder:
    """The frozen encoder that a specification names, loaded once in a process.

    Raises:
        ConfigError: see :func:`backbones.create_frozen_encoder`; or the specification has the digest of another encoder.
    """
    frozen = load_frozen(replace(spec, digest=None))
    if spec.digest not in (None, frozen.digest):
        raise ConfigError(
            f"{spec.title}: its weights or settings are others than those that were used (digest {frozen.digest} here, "
            f"{spec.digest} wanted); put the encoder back that was there"
        )
    return frozen


def trainable_encoder(spec: EncoderSpec) -> Any:
    """What is trained of an encoder: all of it, or the :class:`backbones.FeatureEncoder` on top of a frozen one."""
    if spec.is_frozen:
        frozen = frozen_encoder(spec)
        return FeatureEncoder(frozen.states, frozen.width)
    return create_encoder(spec.name, **spec.options)


def frozen_front_end(spec: EncoderSpec, max_frames: int, precision: str, onset: float | None = None) -> FrontEnd:
    """The front end that a frozen encoder is; its specification gets the digest."""
    return FrontEnd("encoded", max_frames, replace(spec, digest=frozen_encoder(spec).digest), precision, onset)
