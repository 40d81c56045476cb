"""Feeds damaged, absurd and hostile files to what reads files: each is refused in one line or read right, and soon.

``python -m benchmarks.studies.fuzz_readers --inputs 500 --seed 0`` tries so many on every reader, says what became of them, and ends
with status 1 where one ended in another error than this project's, took too long, or was read to something that cannot be.
"""

import argparse
import io
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from backbones import log_mel
from benchmarks.corpora import EMOTIONS, load_corpus
from benchmarks.corpora.audio_file import read_header
from benchmarks.data.audio import read_audio
from benchmarks.data.features import log_mel_of
from benchmarks.output.printable import one_line, printable
from benchmarks.studies import fuzz_documents
from benchmarks.studies.damage import Rng, Wrong, damage
from dsnet_plugin import DSNetError

SECONDS = 20
"""The time in which a reader must be done with a small file."""

_FORMATS = (
    ("wav", "WAV", "PCM_16"),
    ("wav", "WAV", "FLOAT"),
    ("wav", "WAVEX", "PCM_24"),
    ("flac", "FLAC", "PCM_16"),
    ("ogg", "OGG", "VORBIS"),
    ("opus", "OGG", "OPUS"),
    ("mp3", "MP3", "MPEG_LAYER_III"),
    ("aiff", "AIFF", "PCM_16"),
    ("au", "AU", "FLOAT"),
)


@dataclass
class Outcome:
    """What became of a reader's inputs."""

    counts: Counter[str] = field(default_factory=Counter)
    """How many were read, and how many refused."""

    failures: list[str] = field(default_factory=list)
    """A line for each input that was neither."""


def audio(rng: Rng, folder: Path) -> None:
    """An audio file: its header, its samples to the end, and its features."""
    suffix, container, subtype = _FORMATS[int(rng.integers(len(_FORMATS)))]
    stream, rate = io.BytesIO(), int(rng.choice([8_000, 16_000, 48_000]))
    samples = 0.1 * rng.standard_normal((rate // 4, int(rng.integers(1, 3))))
    if subtype == "FLOAT" and rng.integers(2):
        samples[int(rng.integers(len(samples)))] = rng.choice([np.nan, np.inf, 1e38, -1e20, 3.0])
    soundfile.write(stream, samples, rate, format=container, subtype=subtype)
    name = rng.choice([f"a.{suffix}", "a.wav", "a.mp3", "caf\udce9.wav", "a\n\x1b[2J.flac"])
    path = folder / str(name)
    path.write_bytes(damage(stream.getvalue(), rng))
    try:
        header = read_header(path)
        if not 1_000 <= header.rate <= 384_000 or (header.frames is not None and header.frames < 1):
            raise Wrong(f"a header of {header}")
        waveform = read_audio(path, 600)
        if waveform.dim() != 1 or not len(waveform) or not bool(torch.isfinite(log_mel(waveform, 100)).all()):
            raise Wrong(f"a waveform of shape {tuple(waveform.shape)} or features that are no numbers")
    finally:
        path.unlink()


def manifest(rng: Rng, folder: Path) -> None:
    """A table of segments and labels."""
    for name in ("a.wav", "b.wav"):
        if not (folder / name).exists():
            soundfile.write(folder / name, 0.1 * np.random.default_rng(len(name)).standard_normal(16_000), 16_000)
    rows = ["path,speaker,label,sex,start,end,key"]
    for number in range(int(rng.integers(1, 6))):
        choice = [rng.choice(["a.wav", "b.wav", "./a.wav", "a\\b.wav"]), rng.choice(["1", "01", "Ann", "ann"])]
        choice += [rng.choice(["sad", "Joy", "exc", "fear", "?"]), rng.choice(["F", "male", ""])]
        choice += [rng.choice(["", "0", "0.1", "00:00:00.2"]), rng.choice(["", "0.5", "NaT", "1"]), f"u{number}"]
        rows.append(",".join(map(str, choice)))
    content = "\n".join(rows).encode()
    path = folder / "m.csv"
    path.write_bytes(damage(content, rng) if rng.integers(4) else content)
    for u in load_corpus("manifest", path).utterances:
        if u.label not in EMOTIONS or not u.speaker or u.start < 0 or (u.end is not None and u.end <= u.start):
            raise Wrong(f"an utterance {u}")


def cache(rng: Rng, folder: Path) -> None:
    """An entry of the feature cache: whatever is in it, the features are those of the recording."""
    path = folder / "cached.wav"
    if not path.exists():
        soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(8_000), 16_000)
    before = log_mel(read_audio(path), 20)
    log_mel_of(path, 20)
    (entry,) = (folder / "cache").rglob("*.safetensors")
    entry.write_bytes(damage(entry.read_bytes(), rng))
    if not torch.equal(log_mel_of(path, 20), before):
        raise Wrong("other features from a damaged entry")


READERS: dict[str, Callable[[Rng, Path], None]] = {
    "audio": audio,
    "cache": cache,
    "checkpoint": fuzz_documents.checkpoint,
    "line": fuzz_documents.line,
    "manifest": manifest,
    "specification": fuzz_documents.specification,
}
"""What is tried, by name: each makes one input, reads it, and raises :class:`Wrong` where the result cannot be."""


def fuzz(name: str, inputs: int, seed: int) -> Outcome:
    """Tries a reader on so many inputs, each of which depends on the seed and its number alone."""
    outcome = Outcome()
    kept = os.environ.get("DSNET_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DSNET_CACHE"] = str(Path(folder) / "cache")
        try:
            for number in range(inputs):
                rng = np.random.default_rng([seed, sorted(READERS).index(name), number])
                try:
                    with _limited():
                        READERS[name](rng, Path(folder))
                    outcome.counts["read"] += 1
                except DSNetError as error:
                    outcome.counts["refused"] += 1
                    if len(one_line(str(error)).encode()) > 4_000:  # it must be possible to print it
                        outcome.failures.append(f"{name}, input {number}: an endless line")
                except Exception as error:
                    outcome.failures.append(f"{name}, input {number}: {type(error).__name__}: {error!s:.200}")
        finally:
            if kept is None:
                del os.environ["DSNET_CACHE"]
            else:
                os.environ["DSNET_CACHE"] = kept
    return outcome


@contextmanager
def _limited() -> Iterator[None]:
    """A context that is left with an error after ``SECONDS``; only where the system has alarms."""

    def ring(*_: Any) -> None:
        raise TimeoutError(f"not done in {SECONDS} seconds")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def main() -> int:
    """Tries every reader and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=500, help="of each reader")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    failed = 0
    for name in READERS:
        outcome = fuzz(name, asked.inputs, asked.seed)
        failed += len(outcome.failures)
        print(
            f"{name}: {outcome.counts['read']} read, {outcome.counts['refused']} refused, {len(outcome.failures)} failed"
        )
        for line in outcome.failures:
            print(f"  {printable(line)}")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
