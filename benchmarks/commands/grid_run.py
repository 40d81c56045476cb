"""What ``dsnet train`` and ``dsnet benchmark`` do with their grids."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import typer

from benchmarks.errors import RunError

if TYPE_CHECKING:
    from benchmarks.grid.spec import Grid


def compute_and_tell(
    grids: "Sequence[Grid]",
    out: Path,
    jobs: int,
    executor: str,
    time_budget: float | None,
    device: str,
    skip_problems: bool,
) -> None:
    """Computes grids and prints what the finished cells come to; arguments are those of :func:`benchmarks.grid.run.run_suite`.

    Raises:
        RunError: a cell failed; the others are finished.
    """
    from benchmarks.grid.run import run_suite  # torch, Accelerate, matplotlib
    from benchmarks.grid.summary import summarise

    outcome = run_suite(grids, out, jobs, executor, time_budget, device, skip_problems, say=typer.echo)
    if outcome.records:
        summarise(out, outcome.records, typer.echo)
        typer.echo(f"dsnet report {quote(str(out))} makes tables, figures and a page of it")
        trained = out / outcome.records[-1].folder
        typer.echo(f"dsnet predict {quote(str(trained))} FILE.wav hears a recording with one of the trained models")
    if outcome.failed:
        folder, reason = next(iter(outcome.failed.items()))
        raise RunError(f"{len(outcome.failed)} cells failed, such as {folder}: {reason}")
