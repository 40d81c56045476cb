"""Files that hold labels: tables with a header line, and texts in which some lines are labels."""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from benchmarks.errors import CorpusError

SEXES = {"female": "F", "f": "F", "male": "M", "m": "M"}
"""The words for a speaker's sex in label files, in lower case, and what stands for them here."""


def read_label_lines(
    document: Path, start: str, pattern: str, emotions: Mapping[str, str]
) -> Iterator[tuple[re.Match[str], str]]:
    """The label lines among the lines of a text file: each match, and the emotion that its group ``code`` means.

    Only the lines that begin with ``start`` are label lines, and every one of them must match the whole ``pattern``.

    Raises:
        CorpusError: a label line of another form, or a code that is none of ``emotions``.
    """
    # The raters' comments are in whatever encoding they typed in; the label lines are ASCII.
    for number, line in enumerate(document.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.startswith(start):
            continue
        match = re.fullmatch(pattern, line.rstrip())
        if match is None:
            raise CorpusError(f"{document}, line {number}: {line[:80]!r} is no label line; expected the form {pattern}")
        if match["code"] not in emotions:
            known = ", ".join(emotions)
            raise CorpusError(f"{document}, line {number}: unknown emotion {match['code']!r}; the release has {known}")
        yield match, emotions[match["code"]]


def read_table(path: Path, columns: Iterable[str]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a table with a header line, each with its line number; values are stripped of surrounding spaces.

    The separator is the comma, semicolon or tab that the header line has most of; column names are in lower case.

    Raises:
        CorpusError: not UTF-8, empty, a column missing or twice, or a row with more or fewer values than the header.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 text (byte {error.start}); save it as CSV in UTF-8") from None
    if not lines or not lines[0].strip():
        raise CorpusError(f"{path}: no first line; expected a header with the columns {', '.join(columns)}")
    reader = csv.reader(lines, delimiter=max(",;\t", key=lines[0].count), strict=True)
    rows = []
    try:
        header = [name.strip().lower() for name in next(reader)]
        twice = sorted(name for name, count in Counter(header).items() if count > 1 and name)
        if twice:
            raise CorpusError(f"{path}: the column {', '.join(twice)} is there twice; which of them counts is unclear")
        missing = [column for column in columns if column not in header]
        if missing:
            raise CorpusError(f"{path}: no column {', '.join(missing)}; the first line has {', '.join(header)}")
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            if len(values) != len(header):
                seen = f"{len(values)} values, but the header has {len(header)} columns"
                raise CorpusError(f"{path}, line {reader.line_num}: {seen}")
            rows.append((reader.line_num, dict(zip(header, (value.strip() for value in values), strict=True))))
    except csv.Error as error:
        raise CorpusError(
            f"{path}, line {reader.line_num}: {error}; look for a quotation mark without its pair"
        ) from None
    return rows
