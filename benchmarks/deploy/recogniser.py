"""A trained model on recordings of any kind: what ``dsnet predict`` and ``dsnet demo`` share."""

from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor

from backbones import SAMPLE_RATE, log_mel
from benchmarks.data import collate
from benchmarks.data.features import cut_waveform
from benchmarks.methods import Batch
from benchmarks.training import load_model


class Recogniser:
    """The model of a checkpoint, on the CPU, for one recording at a time.

    A recording is a waveform (samples,) at 16 kHz as :func:`benchmarks.data.features.read_audio` gives it. A model with
    ``needs_neutral`` takes a neutral recording of the same speaker beside it; any other is given none.

    Args:
        checkpoint: a ``best.safetensors``, or the folder of a fold that holds one.

    Raises:
        CheckpointError: see :func:`benchmarks.training.checkpoint.load_model`.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.method, self.record = load_model(checkpoint)
        self.name: str = self.record.method
        self.classes: list[str] = self.record.classes
        self.max_frames: int = self.record.max_frames
        self.needs_neutral = self.method.neutral_in_inference

    def probabilities(self, waveform: Tensor, neutral: Tensor | None = None) -> dict[str, float]:
        """The probability of each class, by name."""
        with torch.inference_mode():
            logits = self.method(**self._batch(waveform, neutral))
        return dict(zip(self.classes, logits.softmax(1)[0].tolist(), strict=True))

    def spaces(self, waveform: Tensor, neutral: Tensor | None = None) -> dict[str, Tensor]:
        """Where the recording lies in each of the method's feature spaces, by name, each (D,)."""
        with torch.inference_mode():
            found = self.method.spaces(**self._batch(waveform, neutral))
        return {name: features[0] for name, features in found.items()}

    def _batch(self, waveform: Tensor, neutral: Tensor | None) -> Batch:
        return {"inputs": self._inputs(waveform)} | ({} if neutral is None else {"neutral": self._inputs(neutral)})

    def _inputs(self, waveform: Tensor) -> Any:
        kind = self.method.encoder.input_kind
        features = (cut_waveform if kind == "waveform" else log_mel)(waveform, self.max_frames)
        return collate([features], self.max_frames, kind, torch.device("cpu"))


def most_probable(probabilities: dict[str, float]) -> str:
    """The class of the highest probability."""
    return max(probabilities, key=probabilities.__getitem__)


def missing_band(path: Path) -> str | None:
    """What an audio file lacks because of its sampling rate, for a person; None if it lacks nothing."""
    rate = soundfile.info(str(path)).samplerate
    return f"{rate} Hz, so nothing above {rate // 2} Hz; trained on {SAMPLE_RATE} Hz" if rate < SAMPLE_RATE else None
