"""What a model says of a recording of any length: window by window where it is longer than the model hears."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from backbones import SAMPLE_RATE
from backbones.frontend import FRAME_LENGTH
from benchmarks.data.recordings import SILENCE, frame_levels
from benchmarks.output.formats import csv_word
from dsnet_plugin.serialization import write_bytes

Probabilities = dict[str, float]


@dataclass(frozen=True)
class Moment:
    """What a model says of one window."""

    start: float
    """Where the window begins, in seconds."""

    end: float
    """Where it ends."""

    probabilities: Probabilities | None
    """The probability of each class; None where there is no speech."""

    no_speech: str = ""
    """Why there is none."""


@dataclass(frozen=True)
class Answer:
    """What a model says of a recording: of one window, or of several that overlap."""

    moments: list[Moment]
    """The windows in order, at least one."""

    hop: float
    """Seconds from the start of one window to that of the next."""

    @property
    def seconds(self) -> float:
        """How much of the recording was heard."""
        return self.moments[-1].end

    @property
    def probabilities(self) -> Probabilities | None:
        """The mean over the windows with speech; None where no window has any."""
        heard = [moment.probabilities for moment in self.moments if moment.probabilities is not None]
        return {name: sum(p[name] for p in heard) / len(heard) for name in heard[0]} if heard else None

    @property
    def no_speech(self) -> str:
        """Why there is no speech in the whole recording; "" where there is."""
        return "" if self.probabilities else self.moments[0].no_speech

    def record(self) -> dict[str, Any]:
        """The answer as JSON has it; with the windows where there are several."""
        written: dict[str, Any] = {**_verdict(self.probabilities, self.no_speech), "seconds": round(self.seconds, 3)}
        if len(self.moments) > 1:
            first = self.moments[0]
            written |= {"window": round(first.end - first.start, 3), "hop": round(self.hop, 3)}
            written["timeline"] = [
                {"start": round(m.start, 3), "end": round(m.end, 3), **_verdict(m.probabilities, m.no_speech)}
                for m in self.moments
            ]
        return written


def listen(
    blocks: Iterable[Tensor], answer: Callable[[Tensor], Probabilities], window: float, hop: float | None = None
) -> Answer:
    """Asks a model about each window of a recording, of which no more is kept in memory than one window.

    Args:
        blocks: the recording at 16 kHz, in pieces.
        answer: what the model says of a waveform.
        window: the longest stretch that the model hears at once, in seconds.
        hop: seconds from window to window; half a window by default.
    """
    hop = window / 2 if hop is None else hop
    moments = []
    for first, waveform in _windows(blocks, round(window * SAMPLE_RATE), max(1, round(hop * SAMPLE_RATE))):
        start, reason = first / SAMPLE_RATE, no_speech(waveform)
        moments.append(Moment(start, start + len(waveform) / SAMPLE_RATE, None if reason else answer(waveform), reason))
    return Answer(moments, hop)


def speech_in(blocks: Iterable[Tensor], window: float) -> Iterator[Tensor]:
    """The windows of a recording that have speech, one after the other."""
    size = round(window * SAMPLE_RATE)
    return (waveform for _, waveform in _windows(blocks, size, size) if not no_speech(waveform))


def no_speech(waveform: Tensor) -> str:
    """Why there can be no speech in a waveform; "" where there may be."""
    if len(waveform) < FRAME_LENGTH:
        return f"{1000 * len(waveform) / SAMPLE_RATE:.3g} ms of sound"
    if float(frame_levels(waveform).max()) <= SILENCE:
        return f"silence, nothing above {SILENCE:.0f} dB of full scale"
    return ""


def most_probable(probabilities: Probabilities) -> str:
    """The class of the highest probability."""
    return max(probabilities, key=probabilities.__getitem__)


def write_timeline(answer: Answer, classes: list[str], stem: Path, title: str) -> None:
    """Writes ``STEM.csv``, a row a window, and ``STEM.png``, a curve a class."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["start", "end", "emotion", *map(csv_word, classes)])
    for m in answer.moments:
        verdict = most_probable(m.probabilities) if m.probabilities else "no speech"
        values = [f"{m.probabilities[name]:.4f}" if m.probabilities else "" for name in classes]
        writer.writerow([f"{m.start:.3f}", f"{m.end:.3f}", csv_word(verdict), *values])
    write_bytes(stem.with_name(f"{stem.name}.csv"), table.getvalue().encode())
    picture = io.BytesIO()
    _figure(answer, classes, title).savefig(picture, format="png", dpi=150)
    write_bytes(stem.with_name(f"{stem.name}.png"), picture.getvalue())


def _figure(answer: Answer, classes: list[str], title: str) -> Figure:
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axis = figure.add_subplot()
    middles = [(m.start + m.end) / 2 for m in answer.moments]
    for name in classes:
        axis.plot(
            middles, [m.probabilities[name] if m.probabilities else float("nan") for m in answer.moments], label=name
        )
    first = answer.moments[0]
    axis.set(xlabel="seconds, the middle of each window", ylabel="probability", ylim=(0, 1), xlim=(0, answer.seconds))
    axis.set_title(f"{title}: windows of {first.end - first.start:.2f} s every {answer.hop:.2f} s", parse_math=False)
    axis.legend(ncols=len(classes), loc="upper center", frameon=False)
    return figure


def _windows(blocks: Iterable[Tensor], size: int, hop: int) -> Iterator[tuple[int, Tensor]]:
    """The first sample of each window and its samples; the last window ends with the recording, and may be shorter."""
    first, rest = 0, torch.zeros(0)
    for block in blocks:
        rest = torch.cat([rest, block])
        while len(rest) > size:
            yield first, rest[:size]
            first, rest = first + hop, rest[hop:]
    yield first, rest


def _verdict(probabilities: Probabilities | None, reason: str) -> dict[str, Any]:
    if probabilities is None:
        return {"emotion": None, "no_speech": reason, "probabilities": None}
    return {"emotion": most_probable(probabilities), "probabilities": probabilities}
