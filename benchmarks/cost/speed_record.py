"""The record of a measurement of speed and memory: one line of ``speed.jsonl``."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.output.environment import Environment


@dataclass(frozen=True)
class TrainingSpeed:
    """What was measured in the training loop."""

    samples_per_second: float
    """Labelled utterances that an epoch takes in."""

    times_baseline: float
    """The seconds of a batch over the baseline's."""

    outside_share: float
    """The share of that time outside the steps, see :meth:`benchmarks.cost.timed_method.TimedMethod.train`."""

    statistics_steps: float
    """Training steps that take as long as an epoch's batch-norm statistics."""

    matmul_share: float
    """Multiply-accumulate operations a second, of convolutions and matrix products, forward and backward, over those of a
    large matrix product of the same precision in the same rounds."""

    peak_bytes: int
    """See :meth:`benchmarks.cost.timed_method.TimedMethod.training_peak`."""


@dataclass(frozen=True)
class InferenceSpeed:
    """What was measured in inference, with the features on the device."""

    latency_ms: float
    """Milliseconds of one utterance."""

    samples_per_second: float
    """Utterances a second of a batch."""

    times_baseline: float
    """The seconds of a batch over the baseline's."""

    peak_bytes: int
    """See :meth:`benchmarks.cost.timed_method.TimedMethod.inference_peak`."""


@dataclass(frozen=True)
class SpeedRecord:
    """A method on an encoder under one budget, measured on one device."""

    method: str
    """A name of ``METHODS`` or ``VARIANTS``."""

    encoder: str
    """The title of the encoder, see :class:`benchmarks.data.EncoderSpec`."""

    config: Mapping[str, object]
    """The method's settings."""

    max_frames: int
    """Frames of 10 ms of an utterance."""

    batch_size: int
    """Utterances in a batch, in training and in inference."""

    precision: str
    """``"fp32"`` or ``"bf16"``."""

    compile: bool
    """Whether the encoder went through ``torch.compile``."""

    training: TrainingSpeed
    """The training loop."""

    inference: InferenceSpeed
    """Inference."""

    environment: Environment
    """What it was measured on."""
