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
from benchmarks.data.recordings import SILENCE, frame_levels
from benchmarks.errors import AudioError

FRONT_END = "soxr, kaldi-fbank-80-hamming, 2"
"""Part of the cache key: change it with the front end."""


_LONGEST_SILENCE = 10.0
"""Seconds in which the first sound is looked for, so that no recording is read whole."""


def log_mel_of(
    path: Path, max_frames: int, start: float = 0.0, end: float | None = None, onset: float | None = None
) -> Tensor:
    """The static log-mel features of a recording or a part of it, at most ``max_frames`` frames: (T, 80); cached.

    With ``onset`` they begin with the first sound, see :func:`from_onset`.

    Raises:
        AudioError: see :func:`benchmarks.data.audio.read_audio`.
    """
    file = feature_file(path, f"{FRONT_END}/{max_frames}{onset_key(onset)}", start, end)
    features = read_features(file)
    if features is None:
        features = log_mel(_heard(path, max_frames, start, end, onset), max_frames)
        write_features(file, features)
    return features


def waveform_of(
    path: Path, max_frames: int, start: float = 0.0, end: float | None = None, onset: float | None = None
) -> Tensor:
    """The samples of a recording or a part of it, as many as ``max_frames`` frames span at most; ``onset`` as above.

    Raises:
        AudioError: see :func:`benchmarks.data.audio.read_audio`.
    """
    return cut_waveform(_heard(path, max_frames, start, end, onset), max_frames)


def cut_waveform(waveform: Tensor, max_frames: int) -> Tensor:
    """The samples of at most ``max_frames`` frames; shorter than a frame is padded with zeros to one, as log-mel is."""
    waveform = waveform[: num_samples(max_frames)]
    return torch.nn.functional.pad(waveform, (0, max(0, num_samples(1) - len(waveform))))


def from_onset(waveform: Tensor, onset: float) -> Tensor:
    """A recording from its first sound on: the first 10 ms that are no more than ``onset`` dB below its loudest.

    RAVDESS, for one, begins with a second of silence, which would fill a short cut.
    """
    levels = frame_levels(waveform)
    if not len(levels) or float(levels.max()) <= SILENCE:
        return waveform
    return waveform[int((levels >= levels.max() - onset).int().argmax()) * (SAMPLE_RATE // 100) :]


def onset_key(onset: float | None) -> str:
    """What an onset adds to the key of a cache."""
    return "" if onset is None else f"/from {onset!r} dB"


def extract(
    utterances: Sequence[Utterance], max_frames: int, input_kind: str = "lmfb", onset: float | None = None
) -> tuple[list[Tensor | None], dict[str, str]]:
    """What an encoder of ``input_kind`` takes of many utterances, on all cores, with a progress bar.

    Log-mel features (T, 80), T at most ``max_frames``; or for ``"waveform"`` the samples of as many frames. With ``onset``
    they begin with the first sound, see :func:`from_onset`.

    Returns:
        One entry an utterance in order, None where its audio cannot be read; and the reason for each of those, by key.
    """
    problems: dict[str, str] = {}
    read = waveform_of if input_kind == "waveform" else log_mel_of

    def take(utterance: Utterance) -> Tensor | None:
        try:
            return read(utterance.path, max_frames, utterance.start, utterance.end, onset)
        except AudioError as error:
            problems[utterance.key] = str(error).removeprefix(f"{utterance.path}: ")
            return None

    return on_all_cores(take, utterances, "features"), problems


def _heard(path: Path, max_frames: int, start: float, end: float | None, onset: float | None) -> Tensor:
    seconds = num_samples(max_frames) / SAMPLE_RATE
    if onset is None:
        return read_audio(path, seconds, start, end)
    return from_onset(read_audio(path, seconds + _LONGEST_SILENCE, start, end), onset)
