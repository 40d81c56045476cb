"""The tables of finished studies, from their lines alone: what ``dsnet report`` prints of a study's file."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.output.table import Table
from benchmarks.output.typed_json import from_json
from benchmarks.report.cells import parsed_lines
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


def study_tables(path: Path, remarks: list[str]) -> list[Table]:
    """The tables of a study's file; none where a path is a run's folder, or a file whose first line is not a study's.

    Args:
        path: the file.
        remarks: gets a sentence on a last line that a killed writer left unfinished.

    Raises:
        CheckpointError: a line is damaged, or not of the first one's kind.
    """
    lines = parsed_lines(path, remarks) if path.is_file() else iter(())
    first = next(lines, None)
    study = _study_of(first[1]) if first else None
    if first is None or study is None:
        return []
    remedy = "mend or delete the line"
    return study.tables([from_json(study.record, line, where, remedy) for where, line in (first, *lines)])


def _study_of(line: Any) -> Study | None:
    """The study that most of a line's names are of; one that is missing or too many is named where the line is read."""

    def shared(study: Study) -> float:
        names = {field.name for field in fields(study.record)}
        return len(names & line.keys()) / len(names | line.keys())

    if not isinstance(line, dict):
        return None
    study = max(STUDIES, key=shared)
    return study if shared(study) > 0.5 else None
