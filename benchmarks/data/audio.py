"""Audio files of any rate and channel count as one channel at 16 kHz, read in blocks and no further than is heard."""

import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbones import SAMPLE_RATE
from benchmarks.corpora.audio_file import FFMPEG_SUFFIXES, open_audio, reason
from benchmarks.errors import AudioError

_BLOCK = 1 << 18
"""Values in one block, of all channels together."""

_LOUDEST = 2.0**15
"""The largest sample allowed, as in a float file that holds 16-bit integers; larger ones make features infinite."""

_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,aac,asf,amr"
"""The formats that ffmpeg may open: none that names other files or addresses, as a playlist does."""

_PATIENCE = 60.0
"""Seconds of the clock in which ffmpeg must have decoded one more block."""

_Block = NDArray[np.float32]


def read_audio(path: Path, seconds: float | None = None, start: float = 0.0, end: float | None = None) -> Tensor:
    """Reads a recording, or a part of one, as one channel at 16 kHz: shape (samples,), full scale 1.

    Args:
        path: what soundfile reads, or by suffix what ffmpeg does.
        seconds: reads no more than these.
        start: where the part begins, in seconds.
        end: where it ends; None is the end of the file.

    Raises:
        AudioError: no such file, not audio, damaged, of an impossible rate, or without samples in that part.
    """
    wanted = None if seconds is None else round(seconds * SAMPLE_RATE)
    parts, length = [], 0
    for block in audio_blocks(path, start, end):
        parts.append(block)
        length += len(block)
        if wanted is not None and length >= wanted:
            break
    return torch.cat(parts)[:wanted]


def audio_blocks(path: Path, start: float = 0.0, end: float | None = None) -> Iterator[Tensor]:
    """Yields what :func:`read_audio` reads, block by block, in memory that does not depend on length or rate.

    Raises:
        AudioError: see :func:`read_audio`.
    """
    empty = True
    for block in _from_ffmpeg(path, start, end) if _is_for_ffmpeg(path) else _from_soundfile(path, start, end):
        if not np.isfinite(block).all():
            raise AudioError(f"{path}: holds samples that are not numbers (NaN or infinite)")
        if len(block) and max(block.max(), -block.min()) > _LOUDEST:
            raise AudioError(f"{path}: holds samples as large as {np.abs(block).max():.3g}; full scale is 1")
        if len(block):
            empty = False
            yield torch.from_numpy(block)
    if empty:
        where = "" if start == 0 and end is None else f" from {start:g} s on"
        raise AudioError(f"{path}: an audio file with 0 samples{where}")


def _is_for_ffmpeg(path: Path) -> bool:
    return path.suffix.lower() in FFMPEG_SUFFIXES and path.is_file() and path.stat().st_size > 0


def _from_soundfile(path: Path, start: float, end: float | None) -> Iterator[_Block]:
    """Reads, averages the channels and resamples, a block at a time."""
    with open_audio(path) as stream:
        rate = stream.samplerate
        size = max(1, _BLOCK // stream.channels)
        first, last = round(start * rate), None if end is None else round(end * rate)
        # Made by libsoxr, which keeps the tail of a block for the next: its memory grows with neither length nor ratio.
        resampler = None if rate == SAMPLE_RATE else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
        try:
            position = stream.seek(first) if first and first < stream.frames else 0
            while last is None or position < last:
                block = stream.read(size if last is None else min(size, last - position), "float32", always_2d=True)
                if not len(block):
                    break
                with np.errstate(invalid="ignore", over="ignore"):  # what is no number is refused with its own words
                    mono = block[max(0, first - position) :].mean(1, dtype=np.float32)
                position += len(block)
                yield mono if resampler is None else resampler.resample_chunk(mono)
            if resampler is not None:
                yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        except Exception as error:
            raise AudioError(f"{path}: cannot be read to its end ({reason(error)})") from error


def _wait_for_block(stream: IO[bytes], kill: Callable[[], None], path: Path) -> bytes:
    """The next block of what ffmpeg writes; ends an ffmpeg that gives none for ``_PATIENCE`` seconds."""
    late = threading.Event()

    def end() -> None:
        late.set()
        kill()

    timer = threading.Timer(_PATIENCE, end)
    timer.start()
    try:
        content = stream.read(4 * _BLOCK)
    finally:
        timer.cancel()
    if late.is_set():
        raise AudioError(f"{path}: ffmpeg gave nothing for {_PATIENCE:g} s; convert the file to WAV")
    return content


def _from_ffmpeg(path: Path, start: float, end: float | None) -> Iterator[_Block]:
    """Yields what ffmpeg decodes, and stops ffmpeg when the caller takes no further block."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise AudioError(f"{path}: {path.suffix} needs ffmpeg, which is not installed; or give WAV, FLAC, OGG or MP3")
    command = [
        program,
        "-nostdin",
        "-v",
        "error",
        "-timelimit",
        "600",
        "-protocol_whitelist",
        "file",
        "-format_whitelist",
        _CONTAINERS,
    ]
    command += ["-i", f"file:{path}", "-ss", f"{start:f}", *([] if end is None else ["-t", f"{end - start:f}"])]
    command += ["-vn", "-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "f32le", "-"]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        assert process.stdout is not None
        try:
            while content := _wait_for_block(process.stdout, process.kill, path):
                yield np.frombuffer(bytearray(content[: len(content) // 4 * 4]), np.float32)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
        errors.seek(0)
        said = errors.read(2000).decode(errors="replace").strip().splitlines()
    if said:
        raise AudioError(f"{path}: not readable as audio (ffmpeg: {said[-1].removeprefix(f'file:{path}: ')})")
