"""The settings of a training, and the seeds that are derived from its seed."""

import hashlib
from dataclasses import dataclass, field

from benchmarks.data import EncoderSpec


@dataclass(frozen=True)
class TrainingSettings:
    """The budget and the schedule; defaults are the paper's (section 4.2)."""

    encoder: EncoderSpec = field(default_factory=EncoderSpec)
    """What is trained on; a frozen one with its digest."""

    epochs: int = 100
    """Passes over the training speakers' utterances."""

    batch_size: int = 32
    """Labelled utterances in a batch."""

    learning_rate: float = 1e-3
    """Adam's learning rate at the start."""

    patience: int = 20
    """Epochs in a row without a lower validation loss, after which the learning rate is halved."""

    max_frames: int = 600
    """Frames of 10 ms to which an utterance is cut or repeated."""

    onset: float | None = None
    """An utterance begins with the first 10 ms that are no more than so many dB below its loudest; None: where its recording does."""

    precision: str = "fp32"
    """``"fp32"`` or ``"bf16"`` (autocast)."""

    missing_neutral: str = "error"
    """What happens to training speakers without neutral speech, see :class:`dsnet_plugin.NeutralReferences`."""

    enrol: int = 0
    """How many neutral sentences of each validation and test speaker are references for methods that take them in inference,
    and not scored for any method."""

    seed: int = 0
    """Decides on weights, order, dropout and neutral references."""

    compile: bool = False
    """Whether the encoder goes through ``torch.compile``."""


def derive_seed(*parts: object) -> int:
    """A seed that depends on its parts alone, such as a run's seed, a fold and an epoch."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:7], "big")
