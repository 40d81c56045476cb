"""The tables of finished studies, from their lines alone: what ``dsnet report`` prints of a study's file."""

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.output.files import read_lines
from benchmarks.output.table import Table
from benchmarks.output.typed_json import from_json
from benchmarks.studies import batch_norm_tables, encode_once, reference_tables, search
from benchmarks.studies.batch_norm_lines import TrainingLine


class Study(NamedTuple):
    """A kind of lines, and what is made of them."""

    record: type
    """The dataclass of a line, by whose fields the lines are known."""

    tables: Callable[[Sequence[Any]], list[Table]]
    """The tables of all lines of a file."""


STUDIES = (
    Study(search.SearchRecord, lambda lines: [search.table(lines)]),
    Study(reference_tables.ReferenceRecord, reference_tables.tables),
    Study(TrainingLine, batch_norm_tables.tables),
    Study(encode_once.EncodeOnceRecord, lambda lines: [encode_once.table(lines)]),
)
"""The studies that leave lines."""


def study_tables(path: Path) -> list[Table]:
    """The tables of a study's file; none where a path is a run's folder, or a file whose first line is not a study's.

    Raises:
        CheckpointError: a line is damaged, or not of the first one's kind.
    """
    keys = _first_keys(path)
    for record, tables in STUDIES:
        if keys == {field.name for field in fields(record)}:
            remedy = "take the file from where it came from again"
            return tables(
                [from_json(record, line, f"{path}:{i}", remedy) for i, line in enumerate(read_lines(path), 1)]
            )
    return []


def _first_keys(path: Path) -> set[str]:
    """The names in a file's first line; none where there is no object in JSON."""
    if not path.is_file():
        return set()
    with path.open(encoding="utf-8", errors="replace") as lines:
        try:
            first = json.loads(lines.readline())
        except (ValueError, RecursionError):
            return set()
    return set(first) if isinstance(first, dict) else set()
