"""What the methods of a grid cost on its encoders, measured when nothing else is computed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from benchmarks.cost.speed import measure_speed
from benchmarks.cost.speed_record import SpeedRecord
from benchmarks.data import EncoderSpec
from benchmarks.grid.plan import settings_of
from benchmarks.grid.spec import Grid
from benchmarks.methods import Config
from benchmarks.output.environment import describe
from benchmarks.output.files import read_lines, write_lines
from benchmarks.output.run_folder import SPEED_NAME
from benchmarks.output.typed_json import from_json, to_json


def measure_grids(
    grids: Sequence[Grid],
    out: Path,
    device: torch.device,
    precision: Callable[[str], str],
    go_on: Callable[[], bool],
    say: Callable[[str], None],
) -> int:
    """Measures each method on each encoder of the grids with ``speed``, but for what ``OUT/speed.jsonl`` has of this device.

    Where a method has several settings, the first ones count. Stopped at any moment, it goes on with the next measurement.

    Args:
        grids: from :func:`benchmarks.grid.spec.read_spec`.
        out: the run's folder.
        device: what is measured.
        precision: turns ``"auto"`` into what the device is fast in.
        go_on: asked before each measurement.
        say: gets a line on what is too large for the device.

    Returns:
        How many measurements were not begun because ``go_on`` said no.

    Raises:
        CheckpointError: ``speed.jsonl`` is damaged.
    """
    path = out / SPEED_NAME
    remedy = "delete the line to measure it again"
    lines = [
        from_json(SpeedRecord, line, f"{path}:{number}", remedy) for number, line in enumerate(read_lines(path), 1)
    ]
    here = describe(device).device
    measured = {_Measurement.of(line) for line in lines if line.environment.device == here}
    waiting = {m: subject for m, subject in _asked(grids, precision).items() if m not in measured}
    progress = tqdm(waiting.items(), desc="speed", unit="method", leave=False, disable=not waiting)
    for number, (asked, subject) in enumerate(progress):
        if not go_on():
            return len(waiting) - number
        try:
            lines.append(
                measure_speed(
                    asked.method,
                    encoder=subject.encoder,
                    config=subject.config,
                    batch_size=asked.batch_size,
                    max_frames=asked.max_frames,
                    precision=asked.precision,
                    device=device.type,
                    compile=asked.compile,
                )
            )
        except torch.OutOfMemoryError as error:
            say(f"speed of {asked.method} on {asked.encoder}: out of memory on the device: {error}")
        write_lines(path, [to_json(line) for line in lines])
    return 0


class _Measurement(NamedTuple):
    """What tells one measurement from another on the same device."""

    method: str
    """A name of ``METHODS`` or ``VARIANTS``."""

    encoder: str
    """The encoder's title."""

    batch_size: int
    """Utterances in a batch."""

    max_frames: int
    """Frames of 10 ms of an utterance."""

    precision: str
    """``"fp32"`` or ``"bf16"``."""

    compile: bool
    """Whether the encoder goes through ``torch.compile``."""

    @classmethod
    def of(cls, line: SpeedRecord) -> "_Measurement":
        return cls(line.method, line.encoder, line.batch_size, line.max_frames, line.precision, line.compile)


class _Subject(NamedTuple):
    """What a measurement builds the method of."""

    encoder: EncoderSpec
    """What the method is on."""

    config: Config
    """The method's settings."""


def _asked(grids: Sequence[Grid], precision: Callable[[str], str]) -> dict[_Measurement, _Subject]:
    """The measurements that the grids ask for; the first settings of a method count."""
    asked: dict[_Measurement, _Subject] = {}
    for grid in grids:
        for encoder in (e for e in grid.encoders if grid.speed and not e.is_frozen):
            s = settings_of(grid, encoder, precision)
            for spec in grid.methods:
                asked.setdefault(
                    _Measurement(spec.method, encoder.title, s.batch_size, s.max_frames, s.precision, s.compile),
                    _Subject(encoder, dict(spec.config)),
                )
    return asked
