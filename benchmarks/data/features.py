"""Audio in, an encoder's features out: log-mel, with an on-disk cache keyed by content and settings, or the waveform."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import soundfile
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torchaudio.functional import resample
from tqdm import tqdm

from backbones import SAMPLE_RATE, log_mel, num_samples
from benchmarks.errors import AudioError
from benchmarks.output.files import cache_root
from dsnet_plugin.serialization import write_bytes

FRONT_END = "kaldi-fbank-80-hamming-1"
"""Part of the cache key: change it with the front end."""


def read_audio(path: Path) -> Tensor:
    """A recording of any rate and channel count as one channel at 16 kHz, shape (samples,), full scale 1.

    Raises:
        AudioError: no such file, not audio, damaged, or without samples.
    """
    if not path.is_file():
        raise AudioError(f"{path}: no such file")
    if not path.stat().st_size:
        raise AudioError(f"{path}: the file is empty")
    try:
        samples, rate = soundfile.read(str(path), dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError) as error:
        reason = str(error).split(": ")[-1].rstrip(".")
        raise AudioError(f"{path}: not readable as audio ({reason}); expected WAV, FLAC, OGG or MP3") from error
    if not len(samples):
        raise AudioError(f"{path}: an audio file with 0 samples")
    waveform = torch.from_numpy(samples).mean(1)
    if not torch.isfinite(waveform).all():
        raise AudioError(f"{path}: holds samples that are not numbers (NaN or infinite)")
    return waveform if rate == SAMPLE_RATE else resample(waveform, rate, SAMPLE_RATE)


def log_mel_of(path: Path, max_frames: int) -> Tensor:
    """The static log-mel features of a recording, at most ``max_frames`` frames: (T, 80), T its own length; cached.

    Raises:
        AudioError: see :func:`read_audio`.
    """
    if not path.is_file():
        raise AudioError(f"{path}: no such file")
    key = hashlib.sha256(path.read_bytes() + f"{FRONT_END}/{max_frames}".encode()).hexdigest()
    entry = cache_root() / "features" / key[:2] / f"{key}.safetensors"
    if entry.is_file():
        try:
            return load(entry.read_bytes())["features"]
        except (SafetensorError, KeyError):
            pass  # a damaged entry is computed again and replaced
    features = log_mel(read_audio(path), max_frames)
    write_bytes(entry, save({"features": features}), durable=False)  # thousands of them, each to be had again
    return features


def cut_waveform(waveform: Tensor, max_frames: int) -> Tensor:
    """The samples of at most ``max_frames`` frames; shorter than a frame is padded with zeros to one, as log-mel is."""
    waveform = waveform[: num_samples(max_frames)]
    return torch.nn.functional.pad(waveform, (0, max(0, num_samples(1) - len(waveform))))


def extract(
    paths: Iterable[Path], max_frames: int, input_kind: str = "lmfb"
) -> tuple[list[Tensor | None], dict[Path, str]]:
    """What an encoder of ``input_kind`` takes of many recordings, with a progress bar.

    Log-mel features (T, 80), T at most ``max_frames``; or for ``"waveform"`` the samples of as many frames.

    Returns:
        One entry a path in order, None where a recording cannot be read; and the reason for each of those.
    """
    found: list[Tensor | None] = []
    problems: dict[Path, str] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(
        1
    )  # the work on a file is small, and several threads wait for each other where cores are shared
    try:
        for path in tqdm(list(paths), desc="features", unit="file", mininterval=1, leave=False):
            try:
                if input_kind == "waveform":
                    found.append(cut_waveform(read_audio(path), max_frames))
                else:
                    found.append(log_mel_of(path, max_frames))
            except AudioError as error:
                found.append(None)
                problems[path] = str(error).removeprefix(f"{path}: ")
    finally:
        torch.set_num_threads(threads)
    return found, problems
