"""What stands between a recording and an encoder's input, in words that any process understands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class EncoderSpec:
    """An encoder, by what it is created from."""

    name: str = "cnn"
    """A name that :func:`backbones.create_encoder` takes."""

    options: Mapping[str, object] = field(default_factory=dict, hash=False)
    """The options in which it differs from its defaults, such as ``pooling`` or ``freeze``."""

    digest: str | None = None
    """What identifies a frozen encoder, weights included, see :class:`backbones.FrozenEncoder`; None for one that is trained."""

    @property
    def is_frozen(self) -> bool:
        """Whether nothing of it is trained, so that each utterance is encoded once."""
        return self.options.get("freeze") == "all"

    @property
    def title(self) -> str:
        """How tables, folders and lines call it: ``hf/whisper-base (freeze=all)``."""
        family, slash, source = self.name.partition("/")
        is_path = family == "hf" and (source[:1] in "./~" or source.count("/") > 1)  # a hub id is OWNER/NAME
        name = f"{family}{slash}{Path(source).name}" if is_path else self.name
        said = ", ".join(f"{key}={self.options[key]}" for key in sorted(self.options))
        return f"{name} ({said})" if said else name


PAPERS_CNN = EncoderSpec()
"""The paper's encoder, trained from scratch."""


@dataclass(frozen=True)
class FrontEnd:
    """All that an encoder's input depends on besides the recording."""

    input_kind: str = "lmfb"
    """``"lmfb"``, ``"waveform"``, or ``"encoded"``: by a frozen encoder."""

    max_frames: int = 600
    """Frames of 10 ms after which an utterance is cut."""

    encoder: EncoderSpec | None = None
    """The frozen encoder, with its digest; None for the other kinds."""

    precision: str = "fp32"
    """The arithmetic of a frozen encoder; fp32 for the other kinds."""

    onset: float | None = None
    """Where an utterance begins, see :func:`benchmarks.data.features.from_onset`; None where its recording does."""
