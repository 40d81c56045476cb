"""The log-mel front end (section 4.2): waveform to static, delta and delta-delta features."""

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from dsnet_plugin.errors import DSNetError, ShapeError

SAMPLE_RATE = 16_000
"""Hz; what every encoder of this package expects."""

NUM_MEL_BINS = 80
FRAME_LENGTH = 400
"""Samples: 25 ms at 16 kHz."""

FRAME_SHIFT = 160
"""Samples: 10 ms at 16 kHz."""


def num_samples(frames: int) -> int:
    """The samples that so many frames span: 240 more than 160 for each."""
    return FRAME_LENGTH + (frames - 1) * FRAME_SHIFT


def log_mel(waveform: Tensor, max_frames: int | None = None) -> Tensor:
    """Kaldi's log-mel filter bank (LMFB): 80 bins to 8 kHz, Hamming window, pre-emphasis 0.97, no dither.

    Args:
        waveform: shape (samples,), 16 kHz, full scale 1; shorter than a frame is padded with zeros to one.
        max_frames: compute no more than so many frames, at least 1.

    Returns:
        Shape (T, 80), T = 1 + (samples - 400) // 160.

    Raises:
        ShapeError: not one channel, or no samples.
    """
    if waveform.dim() != 1 or not len(waveform):
        raise ShapeError(f"a waveform of shape {tuple(waveform.shape)}; expected (samples,), one channel, not empty")
    if max_frames is not None:
        if max_frames < 1:
            raise ShapeError(f"max_frames={max_frames}: expected at least 1 frame of 10 ms, or None")
        waveform = waveform[: num_samples(max_frames)]
    if len(waveform) < FRAME_LENGTH:
        waveform = nn.functional.pad(waveform, (0, FRAME_LENGTH - len(waveform)))
    features: Tensor = _torchaudio("compliance.kaldi").fbank(
        (waveform.float() * 2**15).unsqueeze(0),  # Kaldi's scale: 16-bit integers
        num_mel_bins=NUM_MEL_BINS,
        frame_length=1000 * FRAME_LENGTH / SAMPLE_RATE,
        frame_shift=1000 * FRAME_SHIFT / SAMPLE_RATE,
        sample_frequency=SAMPLE_RATE,
        window_type="hamming",
        low_freq=0.0,
        high_freq=8000.0,
        preemphasis_coefficient=0.97,
        dither=0.0,
    )
    return features


def fit_frames(features: Tensor, frames: int) -> Tensor:
    """Cuts to the first ``frames`` frames, or repeats the utterance cyclically up to them: (T, 80) to (frames, 80).

    Raises:
        ShapeError: no frames, or none wanted.
    """
    length = features.shape[0]
    if not length or frames < 1:
        raise ShapeError(f"{length} frames to fit into {frames}; expected at least 1 of each")
    if length >= frames:
        return features[:frames]
    return features[torch.arange(frames, device=features.device) % length]


def add_deltas(features: Tensor) -> Tensor:
    """Static, delta and delta-delta as three channels: (..., T, 80) to (..., 3, T, 80).

    A delta is a 5-point regression over time, edges replicated; computed after the cyclic repeat, whose seam shows in it.
    """
    delta = _delta(features)
    return torch.stack([features, delta, _delta(delta)], dim=-3)


def _delta(features: Tensor) -> Tensor:
    first, last = features[..., :1, :], features[..., -1:, :]
    padded = torch.cat([first, first, features, last, last], dim=-2)
    near = padded[..., 3:-1, :] - padded[..., 1:-3, :]
    far = padded[..., 4:, :] - padded[..., :-4, :]
    return near.add_(far, alpha=2).div_(10)  # in place: this runs for every batch


def _torchaudio(module: str) -> Any:
    """A module of torchaudio, which is an extra: this package imports without it."""
    try:
        return import_module(f"torchaudio.{module}")
    except ModuleNotFoundError as error:
        raise DSNetError("the log-mel front end needs torchaudio: pip install 'dsnet_plugin[audio]'") from error


class LogMelFilterBank(nn.Module):
    """The paper's input: one waveform at 16 kHz to (3, T, 80), T = ``max_frames``.

    Args:
        max_frames: frames of 10 ms to which an utterance is cut or cyclically repeated; the paper's is 600. None keeps
            the utterance's own length.

    Raises:
        ShapeError: ``max_frames`` below 1; and when called, a waveform that is not (samples,).
    """

    def __init__(self, max_frames: int | None = 600) -> None:
        super().__init__()
        if max_frames is not None and max_frames < 1:
            raise ShapeError(f"max_frames={max_frames}: expected at least 1 frame of 10 ms, or None")
        self.max_frames = max_frames

    def forward(self, waveform: Tensor) -> Tensor:
        """Waveform (samples,) at 16 kHz, full scale 1, to features (3, T, 80)."""
        features = log_mel(waveform, self.max_frames)
        if self.max_frames is not None:
            features = fit_frames(features, self.max_frames)
        return add_deltas(features)
