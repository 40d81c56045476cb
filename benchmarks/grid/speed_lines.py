"""What the methods of a grid cost on its encoders, measured when nothing else is computed."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.cost.speed import measure_speed
from benchmarks.grid.plan import settings_of
from benchmarks.grid.record import SPEED_NAME
from benchmarks.grid.spec import Grid
from benchmarks.output.environment import describe
from benchmarks.output.files import read_lines, write_lines

_BUDGET = ("batch_size", "max_frames", "precision", "compile")
"""The settings on which a measurement depends."""


def measure_grids(
    grids: Sequence[Grid],
    out: Path,
    device: torch.device,
    precision: Callable[[str], str],
    go_on: Callable[[], bool],
    say: Callable[[str], None],
) -> int:
    """Measures each method on each encoder of the grids with ``speed``, but for what ``OUT/speed.jsonl`` has of this device.

    Of a method with several settings the first counts. Stopped at any moment, it goes on with the next measurement.

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
    lines = read_lines(out / SPEED_NAME)
    here = describe(device)["device"]
    there = [line for line in lines if line["environment"]["device"] == here]
    waiting = [asked for asked in _asked(grids, precision) if not any(asked[0].items() <= own.items() for own in there)]
    for number, (what, config) in enumerate(
        tqdm(waiting, desc="speed", unit="method", leave=False, disable=not waiting)
    ):
        if not go_on():
            return len(waiting) - number
        budget = {key: what[key] for key in _BUDGET}
        try:
            lines.append(measure_speed(what["method"], what["encoder"], dict(config), device=device.type, **budget))
        except torch.OutOfMemoryError as error:
            say(f"speed of {what['method']} on {what['encoder']}: out of memory on the device: {error}")
        write_lines(out / SPEED_NAME, lines)
    return 0


def _asked(grids: Sequence[Grid], precision: Callable[[str], str]) -> list[tuple[dict[str, Any], Mapping[str, Any]]]:
    """What identifies each measurement in its line, and the method's settings."""
    found: dict[str, tuple[dict[str, Any], Mapping[str, Any]]] = {}
    for grid in grids:
        for encoder in grid.encoders if grid.speed else ():
            settings = settings_of(grid, encoder, precision)
            budget = {key: getattr(settings, key) for key in _BUDGET}
            for spec in grid.methods:
                what = {"method": spec.method, "encoder": encoder, **budget}
                found.setdefault(json.dumps(what), (what, spec.config))
    return list(found.values())
