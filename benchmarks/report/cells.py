"""The finished cells of runs, as the suite left them on disk: read, checked, each once."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.errors import RunError
from benchmarks.grid import LINES_NAME, SPEED_NAME, check_line


@dataclass(frozen=True, eq=False)
class Cell:
    """One finished cell; ``folder`` is where it left its files, which need not be there any more."""

    record: dict[str, Any]
    folder: Path

    @property
    def identity(self) -> dict[str, Any]:
        """What makes it this cell and no other."""
        return dict(self.record["cell"])

    @property
    def method(self) -> str:
        """The name of the method or variant."""
        return str(self.identity["method"])

    @property
    def label(self) -> str:
        """How tables call the method with these settings."""
        return str(self.record["label"])

    @cached_property
    def config(self) -> dict[str, Any]:
        """The method's settings, without what follows from the fold."""
        return {key: value for key, value in self.identity["config"].items() if key != "num_speakers"}

    @property
    def corpus(self) -> str:
        """The name of the corpus it was trained on."""
        return str(self.identity["corpus"]["name"])

    @property
    def place(self) -> tuple[int, int]:
        """Fold and seed."""
        return self.identity["fold"], self.identity["settings"]["seed"]

    @property
    def encoder(self) -> str:
        """The name of the encoder."""
        return str(self.identity["settings"]["encoder"])

    @cached_property
    def budget(self) -> dict[str, Any]:
        """What must be the same for two cells to stand in one table: the settings, and the protocol."""
        own = {key: value for key, value in self.identity["settings"].items() if key not in ("encoder", "seed")}
        return {"protocol": self.identity["protocol"], **own}


@dataclass
class Runs:
    """What was read: cells, lines of speed, and remarks on what was odd about the files."""

    cells: list[Cell] = field(default_factory=list)
    speeds: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def read_runs(paths: Sequence[Path]) -> Runs:
    """Reads run folders and files of lines.

    A last line that a killed writer left unfinished is passed over with a remark; of two records of one cell the later
    counts. Corpora that share a name and not their utterances get their fingerprints as part of their names.

    Args:
        paths: a run's folder, with ``cells.jsonl`` and perhaps ``speed.jsonl``, or a file with lines of either kind.

    Raises:
        RunError: nothing there, a damaged line, a line of another kind, or no finished cell at all.
    """
    runs = Runs()
    found: dict[str, Cell] = {}
    for file in [file for path in paths for file in _files(path)]:
        for where, record in _records(file, runs.remarks):
            if _is_speed(record):
                runs.speeds.append(record)
                continue
            check_line(where, record)
            key = json.dumps(record["cell"], sort_keys=True)
            if key in found:
                runs.remarks.append(f"{where}: a cell that was there already; the later record counts")
            found[key] = Cell(record, file.parent / record.get("folder", ""))
    if not found:
        raise RunError(f"{', '.join(map(str, paths))}: no finished cell; expected at least one line in {LINES_NAME}")
    runs.cells = list(found.values())
    _tell_corpora_apart([cell.record for cell in runs.cells])
    return runs


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not (path / LINES_NAME).is_file():
        raise RunError(f"{path}: expected a run's folder with {LINES_NAME} in it, or a .jsonl file")
    return [file for file in (path / LINES_NAME, path / SPEED_NAME) if file.is_file()]


def _records(path: Path, remarks: list[str]) -> Iterator[tuple[str, Any]]:
    """The lines of a file with their places."""
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            yield where, json.loads(line)
        except ValueError as error:
            if number < len(lines):
                raise RunError(f"{where}: damaged ({error}); mend or delete the line") from error
            remarks.append(f"{where}: the last line is unfinished, as a killed run leaves it, and is passed over")


def _is_speed(record: Any) -> bool:
    return isinstance(record, dict) and {"encoder", "training", "inference"} <= record.keys()


def _tell_corpora_apart(records: Sequence[dict[str, Any]]) -> None:
    """Adds the fingerprint to the names of corpora that share a name."""
    identities = [corpus for record in records for corpus in _corpora(record)]
    prints: dict[str, set[str]] = {}
    for identity in identities:
        prints.setdefault(identity["name"], set()).add(identity["sha256"])
    shared = {name for name, own in prints.items() if len(own) > 1}
    for record in records:
        for corpus in _corpora(record):
            if corpus["name"] in shared:
                corpus["name"] += f" {corpus['sha256'][:6]}"
        record["tests"] = {test["corpus"]["name"]: test for test in record["tests"].values()}


def _corpora(record: dict[str, Any]) -> list[dict[str, Any]]:
    return [record["cell"]["corpus"], *(test["corpus"] for test in record["tests"].values())]
