"""A table as data; ``formats.py`` writes it for a terminal and as Markdown, LaTeX and CSV, the report's page as HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import NamedTuple

NOTHING = "-"
"""What stands where there is no number."""


@dataclass(frozen=True)
class Number:
    """A number with what belongs to it."""

    value: float
    """The number; NaN where there is none."""

    sd: float | None = None
    """Its standard deviation."""

    interval: tuple[float, float] | None = None
    """Its 95% interval."""

    marks: str = ""
    """Signs that the table's notes explain."""

    bold: bool = False
    """Whether it is the best of its column."""

    form: str = ".2f"
    """The format of value and deviation; beside significant digits (``.3g``) the deviation has a single one."""

    unit: str = ""
    """What follows the number, such as ``"G"``."""

    paper: float | None = None
    """What the paper prints in its place."""


@dataclass(frozen=True)
class Interval:
    """A 95% interval that stands alone."""

    low: float
    """The lower end; NaN where there is no interval."""

    high: float
    """The upper end."""


Value = str | Number | Interval | None
"""What one field of a table holds; None where there is nothing to say."""


@dataclass(frozen=True)
class Table:
    """A table, for a terminal or a report."""

    header: Sequence[str]
    """The name of each column."""

    rows: Sequence[Sequence[Value]]
    """What can be sorted."""

    foot: Sequence[Sequence[Value]] = ()
    """Rows that stay below."""

    notes: Sequence[str] = ()
    """Sentences above it: what is compared, what marks mean."""

    warnings: Sequence[str] = ()
    """Sentences that nobody may miss, above the notes."""

    left: int = 1
    """How many first columns hold words and stand to the left."""

    folded: bool = False
    """Whether the report's page shows it only on demand."""

    name: str = ""
    """The name of its files, without a suffix."""

    title: str = ""
    """What stands above it."""


class Parts(NamedTuple):
    """The pieces of a number as text, each possibly empty: ``"58.82"``, ``"± 0.70"``, ``"[57.1, 60.3]"``, ``"*"``.

    ``beside`` is the interval, or in brackets the paper's number.
    """

    value: str
    sd: str = ""
    beside: str = ""
    marks: str = ""


def parts(value: Value) -> Parts:
    """A cell in pieces, which each format puts together in its own way; a word is all ``value``."""
    if isinstance(value, Interval):
        return Parts(_ends(value.low, value.high) or NOTHING)
    if not isinstance(value, Number):
        return Parts(NOTHING if value is None else value)
    if isnan(value.value):
        return Parts(NOTHING)
    sd_form = ".1g" if value.form.endswith("g") else value.form
    sd = "" if value.sd is None or isnan(value.sd) else f"± {value.sd:{sd_form}}"
    beside = "" if value.interval is None else _ends(*value.interval)
    if value.paper is not None:
        beside = f"({value.paper:.2f}{value.unit})"
    return Parts(f"{value.value:{value.form}}{value.unit}", sd, beside, value.marks)


def _ends(low: float, high: float) -> str:
    return "" if isnan(low) else f"[{low:.1f}, {high:.1f}]"
