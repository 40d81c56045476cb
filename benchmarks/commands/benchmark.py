"""``dsnet benchmark``: a grid of methods, encoders, corpora, folds and seeds."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from benchmarks.commands.choices import Device, Jobs
from benchmarks.commands.grid_run import compute_and_tell
from benchmarks.errors import RunError
from benchmarks.grid.executors import EXECUTORS, check_executor
from benchmarks.output.printable import one_line
from benchmarks.presets import presets

_SECONDS = {"s": 1, "m": 60, "h": 3600}

_Value = TypeVar("_Value")


def benchmark(
    spec: Annotated[str, typer.Argument(help=f"A YAML file, or one of {', '.join(presets())}.")],
    root: Annotated[
        list[str] | None,
        typer.Option(help="NAME=FOLDER of a corpus; several times for several.", metavar="NAME=FOLDER"),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="KEY=VALUE of the specification, such as epochs=10 or folds=0,1.", metavar="KEY=VALUE"
        ),
    ] = None,
    jobs: Jobs = 1,
    executor: Annotated[
        str, typer.Option(help=f"One of {', '.join(EXECUTORS)}; RAY_ADDRESS or DASK_SCHEDULER_ADDRESS name a cluster.")
    ] = "loky",
    time_budget: Annotated[
        str | None, typer.Option(help="Such as 9m or 1.5h: no further cell is begun after that.")
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to compute; auto takes CUDA where there is one.")] = Device.auto,
    skip_problems: Annotated[
        bool, typer.Option(help="Go on without missing or unreadable files; says how many.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="The run's folder.  [default: runs/SPEC]")] = None,
) -> None:
    """Computes a grid of trainings.

    Each finished cell is a line of OUT/cells.jsonl. Stopped at any moment, the same command goes on. 'dsnet report OUT'
    makes tables, figures and a page of it.

    \b
    Examples:
      dsnet benchmark quick --jobs 2
      dsnet benchmark cpu --root ravdess=~/data/ravdess --root nemo=~/data/nemo --set folds=0
    """
    from benchmarks.grid.spec import read_spec

    grids = read_spec(spec, _pairs("--root", root, Path), _pairs("--set", change, _value))
    check_executor(executor)
    compute_and_tell(
        grids,
        out or Path("runs") / Path(spec).stem,
        jobs,
        executor,
        None if time_budget is None else _seconds(time_budget),
        device.value,
        skip_problems,
    )


def _pairs(option: str, entries: Sequence[str] | None, convert: Callable[[str], _Value]) -> dict[str, _Value]:
    """The values of NAME=VALUE, converted, by their names."""
    pairs: dict[str, _Value] = {}
    for entry in entries or ():
        key, equals, value = entry.partition("=")
        if not (key and equals and value):
            raise RunError(
                f"{option} {one_line(entry, 60)}: expected NAME=VALUE, such as {option} {one_line(key, 60) or 'name'}=..."
            )
        if key in pairs:
            raise RunError(f"{option} {key}=... is there twice; expected each name once, so leave one of them out")
        pairs[key] = convert(value)
    return pairs


def _value(text: str) -> Any:
    """A value as YAML reads it, but 0,1 as it stands."""
    from benchmarks.grid.yaml_reader import read_yaml

    return text if "," in text else read_yaml(text, f"--set ...={one_line(text, 60)}")


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if match is None:
        raise RunError(f"--time-budget {text}: expected a number with s, m or h, such as 90s, 9m or 1.5h")
    return float(match[1]) * _SECONDS[match[2]]
