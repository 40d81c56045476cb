"""What tells a run's folder, and where in it lines and models are: known before anything is imported that could read them."""

from pathlib import Path

from benchmarks.errors import RunError
from dsnet_plugin import CheckpointError

LINES_NAME = "cells.jsonl"
"""A run's finished cells, one JSON line each: what a report is made of, and what tells a run's folder."""

SPEED_NAME = "speed.jsonl"
"""A run's measurements, one JSON line each, beside its cells."""

MODEL_NAME = "best.safetensors"
"""The model of the best epoch, in a cell's folder."""


def line_files(path: Path) -> list[Path]:
    """The files of lines that a path means: itself, or those of the run whose folder it is.

    Raises:
        RunError: neither.
    """
    if path.is_file():
        return [path]
    if not (path / LINES_NAME).is_file():
        raise RunError(f"{path}: expected a run's folder with {LINES_NAME} in it, or a .jsonl or .jsonl.gz file")
    return [file for file in (path / LINES_NAME, path / SPEED_NAME) if file.is_file()]


def model_file(path: Path) -> Path:
    """The file that a path to a model means: itself, or that of the cell whose folder it is.

    Raises:
        CheckpointError: no such file; models of the same run are named.
    """
    path = path / MODEL_NAME if path.is_dir() else path
    if not path.exists():
        others = _models_near(path)
        raise CheckpointError(
            f"no file {path}; the same run has {', '.join(map(str, others))}"
            if others
            else f"no file {path}: expected a .safetensors file that dsnet train wrote"
        )
    return path


def _models_near(path: Path, shown: int = 3) -> list[Path]:
    """Some folders of models in the run that a path points into, if it points into one."""
    run = next((folder for folder in path.parents if (folder / LINES_NAME).is_file()), None)
    return [] if run is None else sorted(model.parent for model in run.rglob(MODEL_NAME))[:shown]
