"""From the words of a specification to a frozen encoder, and to what an encoder takes of recordings."""

from dataclasses import replace
from functools import lru_cache

from backbones import FrozenEncoder, create_encoder, create_frozen_encoder
from benchmarks.data.encoder_spec import EncoderSpec, FrontEnd
from dsnet_plugin import ConfigError


@lru_cache(maxsize=2)
def frozen_encoder(spec: EncoderSpec) -> FrozenEncoder:
    """The frozen encoder that a specification names, loaded once.

    Raises:
        ConfigError: see :func:`backbones.create_frozen_encoder`; or the specification has the digest of another encoder.
    """
    frozen = create_frozen_encoder(spec.name, **spec.options)
    if spec.digest not in (None, frozen.digest):
        raise ConfigError(
            f"{spec.title}: its weights or settings are others than those that were used (digest {frozen.digest} here, "
            f"{spec.digest} wanted); put the encoder back that was there"
        )
    return frozen


def front_end_of(encoder: EncoderSpec, max_frames: int, precision: str) -> FrontEnd:
    """The front end of an encoder, which is created to find out; a frozen one gets its digest."""
    if not encoder.is_frozen:
        return FrontEnd(create_encoder(encoder.name, **encoder.options).input_kind, max_frames)
    digest = frozen_encoder(encoder).digest
    return FrontEnd("encoded", max_frames, replace(encoder, digest=digest), precision)
