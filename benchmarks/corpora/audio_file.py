"""One audio file on disk: opened, its header, and what stands in the place of audio that was not fetched."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.errors import AudioError

if TYPE_CHECKING:
    from benchmarks.corpora.sound_stream import SoundStream

RATES = (1_000, 384_000)
"""The lowest and highest sampling rate, in Hz, that a recording of speech may have."""

FFMPEG_SUFFIXES = frozenset({".m4a", ".mp4", ".aac", ".webm", ".mkv", ".wma", ".amr", ".3gp"})
"""File suffixes that soundfile cannot read and ffmpeg can."""

_POINTERS = (b"version https://git-lfs", b"/annex/objects/")


@dataclass(frozen=True)
class Header:
    """What an audio file says of itself."""

    rate: int
    """Samples a second, of one channel."""
    channels: int
    """How many there are."""
    frames: int | None
    """Samples of one channel; None where the header does not say, as a stream's."""

    @property
    def seconds(self) -> float | None:
        """The duration; None where the header does not say."""
        return None if self.frames is None else self.frames / self.rate


def open_audio(path: Path) -> "SoundStream":
    """Opens a file that soundfile reads.

    Raises:
        AudioError: no such file, empty, not audio, or of a sampling rate that no recording of speech has.
    """
    try:
        if not path.is_file():
            raise AudioError(f"{path}: no such file" if not path.exists() else f"{path}: no regular file")
        if not path.stat().st_size:
            raise AudioError(f"{path}: the file is empty")
    except OSError as error:  # no permission, or a name that no file can have
        raise AudioError(f"{path}: {error.strerror}") from error
    from benchmarks.corpora.sound_stream import SoundStream  # soundfile and NumPy

    try:
        # The name goes as bytes, since it need not be UTF-8; on Windows every name is text.
        stream = SoundStream(str(path) if os.name == "nt" else os.fsencode(path))
    except Exception as error:  # libsndfile fails in many ways on what is damaged
        raise AudioError(f"{path}: not readable as audio ({reason(error)}); expected WAV, FLAC, OGG or MP3") from error
    lowest, highest = RATES
    if not lowest <= stream.samplerate <= highest:
        stream.close()
        seen = f"{stream.samplerate:,} samples a second"
        raise AudioError(
            f"{path}: {seen}; expected {lowest:,} to {highest:,}: the header is damaged, or it is no speech"
        )
    return stream


def read_header(path: Path) -> Header:
    """Reads the header, and the first samples where it does not say how many there are.

    Raises:
        AudioError: see :func:`open_audio`; or without samples.
    """
    with open_audio(path) as stream:
        frames: int | None = stream.frames
        if stream.frames <= 0 or stream.frames > (path.stat().st_size + 1) << 16:  # not even silence packs so well
            frames = None
            try:
                first = len(stream.read(1, dtype="float32", always_2d=True))
            except Exception as error:
                raise AudioError(
                    f"{path}: not readable as audio ({reason(error)}); expected WAV, FLAC, OGG or MP3"
                ) from error
            if not first:
                raise AudioError(f"{path}: an audio file with 0 samples")
        return Header(stream.samplerate, stream.channels, frames)


def is_pointer(path: Path) -> bool:
    """Whether a file is what Git LFS or git-annex leaves in the place of content that was not fetched."""
    if path.stat().st_size > 1024:
        return False
    with path.open("rb") as stream:
        return stream.read(64).startswith(_POINTERS)


def is_stand_in(path: Path) -> bool:
    """Whether a file is empty or a pointer, and hence not the recording itself."""
    return not path.stat().st_size or is_pointer(path)


def reason(error: Exception) -> str:
    """The last part of a message of libsndfile, without the file's name."""
    return str(error).split(": ")[-1].rstrip(".") or type(error).__name__
