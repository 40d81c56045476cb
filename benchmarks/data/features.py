"""What an encoder takes of recordings: log-mel, with an on-disk cache keyed by content and settings, or the waveform."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from errno import ENOENT
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from backbones import SAMPLE_RATE, log_mel, num_samples
from benchmarks.corpora import Utterance
from benchmarks.data.audio import read_audio
from benchmarks.data.parallel import on_all_cores
from benchmarks.errors import AudioError
from benchmarks.output.files import cache_root
from dsnet_plugin.serialization import write_bytes

FRONT_END = "soxr, kaldi-fbank-80-hamming, 2"
"""Part of the cache key: change it with the front end."""


def log_mel_of(path: Path, max_frames: int, start: float = 0.0, end: float | None = None) -> Tensor:
    """The static log-mel features of a recording or a part of it, at most ``max_frames`` frames: (T, 80); cached.

    Raises:
        AudioError: see :func:`benchmarks.data.audio.read_audio`.
    """
    try:
        status = path.stat()
        content = _digest_of_file(path, status.st_mtime_ns, status.st_size) if path.is_file() else ""
    except OSError as error:
        raise AudioError(f"{path}: {'no such file' if error.errno == ENOENT else error.strerror}") from error
    if not content:
        raise AudioError(f"{path}: no regular file")
    key = hashlib.sha256(f"{content}/{FRONT_END}/{max_frames}/{start!r}/{end!r}".encode()).hexdigest()
    entry = cache_root() / "features" / key[:2] / f"{key}.safetensors"
    features = _read_entry(entry)
    if features is None:
        features = log_mel(_heard(path, max_frames, start, end), max_frames)
        metadata = {"sha256": _digest(features)}
        # Thousands of them, each to be had again: not worth waiting for the disk.
        write_bytes(entry, save({"features": features}, metadata), durable=False)
    return features


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

    def take(utterance: Utterance) -> Tensor | None:
        path, start, end = utterance.path, utterance.start, utterance.end
        try:
            if input_kind == "waveform":
                return cut_waveform(_heard(path, max_frames, start, end), max_frames)
            return log_mel_of(path, max_frames, start, end)
        except AudioError as error:
            problems[utterance.key] = str(error).removeprefix(f"{path}: ")
            return None

    return on_all_cores(take, utterances, "features"), problems


def _heard(path: Path, max_frames: int, start: float, end: float | None) -> Tensor:
    return read_audio(path, num_samples(max_frames) / SAMPLE_RATE, start, end)


def _read_entry(entry: Path) -> Tensor | None:
    """The features of a cache entry; None where there is none or its bytes have changed."""
    if entry.is_file():
        with suppress(SafetensorError, OSError, ValueError), safe_open(entry, framework="pt") as archive:
            features: Tensor = archive.get_tensor("features")
            if (archive.metadata() or {}).get("sha256") == _digest(features):
                return features
    return None


def _digest(features: Tensor) -> str:
    return hashlib.sha256(repr(tuple(features.shape)).encode() + features.contiguous().numpy().tobytes()).hexdigest()


@lru_cache(maxsize=64)  # many utterances may be parts of one file
def _digest_of_file(path: Path, _changed: int, _size: int) -> str:
    """The content's digest, read again when the file has changed."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
