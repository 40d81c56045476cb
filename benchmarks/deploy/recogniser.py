"""A trained model on recordings of any kind: what ``dsnet predict`` and ``dsnet demo`` share."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from backbones import SAMPLE_RATE, log_mel, num_samples
from benchmarks.corpora.audio_file import FFMPEG_SUFFIXES, read_header
from benchmarks.data import collate
from benchmarks.data.features import cut_waveform, from_onset
from benchmarks.data.front_end import frozen_encoder
from benchmarks.errors import AudioError, RunError
from benchmarks.methods import Batch
from benchmarks.training.checkpoint import load_model
from dsnet_plugin import CheckpointError, DisentangleHead, Speaker, enrol_features
from dsnet_plugin.enrolment import model_digest


class Recogniser:
    """The model of a checkpoint, on the CPU, for one recording at a time.

    A recording is a waveform (samples,) at 16 kHz as :func:`benchmarks.data.audio.read_audio` gives it. A model with
    ``needs_neutral`` takes a neutral recording of the same speaker beside it. One with ``enrols`` hears anybody, and better
    a speaker whom :meth:`enrol` knows. Any other takes the recording alone.

    Args:
        checkpoint: a ``best.safetensors``, or the folder of a fold that holds one.

    Raises:
        CheckpointError: see :func:`benchmarks.training.checkpoint.load_model`; or weights that are not numbers.
        ConfigError: the frozen encoder that it was trained on is not there, or another one is in its place.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.method, self.record = load_model(checkpoint)
        self.name: str = self.record.method
        self.classes: list[str] = self.record.classes
        self.max_frames: int = self.record.max_frames
        self.enrols = self.method.neutral_optional
        self.needs_neutral = self.method.neutral_in_inference and not self.enrols
        self._frozen = frozen_encoder(self.record.encoder) if self.record.encoder.is_frozen else None
        self.seconds = num_samples(self.max_frames) / SAMPLE_RATE
        for name, tensor in self.method.state_dict().items():
            if not torch.isfinite(tensor).all():
                raise CheckpointError(f"{checkpoint}: {name} holds values that are not numbers; train the model again")

    def probabilities(
        self, waveform: Tensor, neutral: Tensor | None = None, speaker: Speaker | None = None
    ) -> dict[str, float]:
        """The probability of each class, by name.

        Raises:
            AudioError: the model's answer is not a number.
        """
        with torch.inference_mode():
            if speaker is None:
                logits = self.method(**self._batch(waveform, neutral))
            else:
                logits = self._head(self.method.encoder(self._inputs(waveform)), neutral=speaker.features[None])
        if not torch.isfinite(logits).all():
            raise AudioError(f"{self.name} answers with what is not a number; the recording is beyond what it can hear")
        return dict(zip(self.classes, logits.softmax(1)[0].tolist(), strict=True))

    def enrol(self, waveforms: Iterable[Tensor]) -> Speaker:
        """Enrols a speaker from neutral sentences, or without a label from whatever they said: the mean of the features.

        Raises:
            RunError: a model that takes no reference, or nothing to enrol.
        """
        if not self.enrols:
            raise RunError(
                f"{self.name} enrols no speaker; train a model that does: dsnet train --method dsnet-enrolled, with --enrol 1"
            )
        with torch.inference_mode():
            features = [self.method.encoder(self._inputs(waveform)) for waveform in waveforms]
            if not features:
                raise RunError("there is no speech in what is to be enrolled; expected at least one sentence")
            return Speaker(enrol_features(self._head, torch.cat(features)), self.digest())

    def digest(self) -> str:
        """What tells this model's enrolled speakers from another's."""
        return model_digest(self.method)

    @property
    def _head(self) -> DisentangleHead:
        head: DisentangleHead = self.method.get_submodule("head")  # type: ignore[assignment]
        return head

    def spaces(
        self, waveform: Tensor, neutral: Tensor | None = None, speaker: Speaker | None = None
    ) -> dict[str, Tensor]:
        """Where the recording lies in each of the method's feature spaces, by name, each (D,)."""
        with torch.inference_mode():
            if speaker is None:
                spaces = self.method.spaces(**self._batch(waveform, neutral))
            else:
                h = self.method.encoder(self._inputs(waveform))
                z_er, z_ei = self._head.spaces(h, speaker.features[None])
                spaces = {"h": h, "z_er": z_er, "z_ei": z_ei}
        return {name: features[0] for name, features in spaces.items()}

    def _batch(self, waveform: Tensor, neutral: Tensor | None) -> Batch:
        return {"inputs": self._inputs(waveform)} | ({} if neutral is None else {"neutral": self._inputs(neutral)})

    def _inputs(self, waveform: Tensor) -> Any:
        kind = (self._frozen or self.method.encoder).input_kind
        if self.record.onset is not None:
            waveform = from_onset(waveform, self.record.onset)
        features = (cut_waveform if kind == "waveform" else log_mel)(waveform, self.max_frames)
        inputs = collate([features], self.max_frames, kind, torch.device("cpu"))
        return inputs if self._frozen is None else self._frozen(inputs)


def missing_band(path: Path) -> str | None:
    """What an audio file lacks because of its sampling rate, for a person; None if it lacks nothing."""
    if path.suffix.lower() in FFMPEG_SUFFIXES:
        return None
    rate = read_header(path).rate
    return f"{rate} Hz, so nothing above {rate // 2} Hz; trained on {SAMPLE_RATE} Hz" if rate < SAMPLE_RATE else None
