"""A table of the report as data; ``formats.py`` writes it as Markdown, LaTeX and CSV, the page as HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import NamedTuple

NOTHING = "-"
"""What stands where there is no number."""


@dataclass(frozen=True)
class Number:
    """A number with what belongs to it.

    ``sd`` is a standard deviation, ``interval`` a 95% interval, ``marks`` refer to the table's notes, ``bold`` is for the
    best of a column. ``form`` is the format of value and deviation; of one in significant digits the deviation has a single
    digit. ``unit`` follows the number ("G"), ``paper`` is what the paper prints in its place.
    """

    value: float
    sd: float | None = None
    interval: tuple[float, float] | None = None
    marks: str = ""
    bold: bool = False
    form: str = ".2f"
    unit: str = ""
    paper: float | None = None


@dataclass(frozen=True)
class Interval:
    """A 95% interval that stands alone."""

    low: float
    high: float


Value = str | Number | Interval | None
"""What a cell of a table holds; None where there is nothing to say."""


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        name: of its files, without a suffix.
        title: above it.
        header: of each column.
        rows: what can be sorted.
        foot: rows that stay below.
        notes: sentences above it: what is compared, what marks mean.
        warnings: sentences that nobody may miss, above the notes.
        left: so many first columns hold words and go to the left.
        folded: whether the page shows it on demand alone.
    """

    name: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Value]]
    foot: Sequence[Sequence[Value]] = ()
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    left: int = 1
    folded: bool = False


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
