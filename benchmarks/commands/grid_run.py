"""What ``dsnet train`` and ``dsnet benchmark`` do with their grids."""

from collections.abc import Sequence
from pathlib import Path

import typer

from benchmarks.errors import RunError
from benchmarks.grid.run import run_suite
from benchmarks.grid.spec import Grid
from benchmarks.grid.summary import summarise


def compute_and_tell(
    grids: Sequence[Grid],
    out: Path,
    jobs: int,
    executor: str,
    time_budget: float | None,
    device: str,
    skip_problems: bool,
) -> None:
    """Computes grids and prints what the finished cells come to; arguments are those of :func:`run_suite`.

    Raises:
        RunError: a cell failed; the others are finished.
    """
    outcome = run_suite(grids, out, jobs, executor, time_budget, device, skip_problems, say=typer.echo)
    if outcome.records:
        summarise(out, outcome.records, typer.echo)
        typer.echo(f"dsnet report {out} makes tables, figures and a page of it")
    if outcome.failed:
        folder, reason = next(iter(outcome.failed.items()))
        raise RunError(f"{len(outcome.failed)} cells failed, such as {folder}: {reason}")
