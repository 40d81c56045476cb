"""What an encoder takes of recordings: log-mel, with an on-disk cache keyed by content and settings, or the waveform."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from backbones import SAMPLE_RATE, log_mel, num_samples
from benchmarks.corpora import Utterance
from benchmarks.data.audio import read_audio
from benchmarks.data.feature_cache import feature_file, read_features, write_features
from benchmarks.data.parallel import on_all_cores
from benchmarks.errors import AudioError

FRONT_END = "soxr, kaldi-fbank-80-hamming, 2"
"""Part of the cache key: change it with the front end."""


def log_mel_of(path: Path, max_frames: int, start: float = 0.0, end: float | None = None) -> Tensor:
    """The static log-mel features of a recording or a part of it, at most ``max_frames`` frames: (T, 80); cached.

    Raises:
        AudioError: see :func:`benchmarks.data.audio.read_audio`.
    """
    file = feature_file(path, f"{FRONT_END}/{max_frames}", start, end)
    features = read_features(file)
    if features is None:
        features = log_mel(_heard(path, max_frames, start, end), max_frames)
        write_features(file, features)
    return features


def waveform_of(path: Path, max_frames: int, start: float = 0.0, end: float | None = None) -> Tensor:
    """The samples of a recording or a part of it, as many as ``max_frames`` frames span at most.

    Raises:
        AudioError: see :func:`benchmarks.data.audio.read_audio`.
    """
    return cut_waveform(_heard(path, max_frames, start, end), max_frames)


def cut_waveform(waveform: Tensor, max_frames: int) -> Tensor:
    """The samples of at most ``max_frames`` frames; shorter than a frame is padded with zeros to one, as log-mel is."""
    waveform = waveform[: num_samples(max_frames)]
    return torch.nn.functional.pad(waveform, (0, max(0, num_samples(1) - len(waveform))))


def extract(
    utterances: Sequence[Utterance], max_frames: int, input_kind: str = "lmfb"
) -> tuple[list[Tensor | None], dict[str, str]]:
    """What an encoder of ``input_kind`` takes of many utterances, on all cores, with a progress bar.

    Log-mel features (T, 80), T at most ``max_frames``; or for ``"waveform"`` the samples of as many frames.

    Returns:
        One entry an utterance in order, None where its audio cannot be read; and the reason for each of those, by key.
    """
    problems: dict[str, str] = {}
    read = waveform_of if input_kind == "waveform" else log_mel_of

    def take(utterance: Utterance) -> Tensor | None:
        try:
            return read(utterance.path, max_frames, utterance.start, utterance.end)
        except AudioError as error:
            problems[utterance.key] = str(error).removeprefix(f"{utterance.path}: ")
            return None

    return on_all_cores(take, utterances, "features"), problems


def _heard(path: Path, max_frames: int, start: float, end: float | None) -> Tensor:
    return read_audio(path, num_samples(max_frames) / SAMPLE_RATE, start, end)
