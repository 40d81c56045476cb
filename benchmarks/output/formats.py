"""A table for a terminal, as Markdown, as LaTeX (booktabs) and as CSV; in files whatever comes from data is escaped."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from math import isnan

from benchmarks.output.printable import printable
from benchmarks.output.table import Interval, Number, Table, Value, parts

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after a line's end it would begin an option
    "±": r"$\pm$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "\n": " ",
}
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~])")
_NUMBERED = re.compile(r"^Table \d+\. ")
_FORMULA = ("=", "+", "-", "@")
_SUBCOLUMNS = ("", " sd", " low", " high", " marks", " paper")


def terminal(table: Table) -> str:
    """Header and rows as Markdown without escapes, which reads well in a terminal and pastes everywhere."""
    rows = [[" ".join(filter(None, parts(value))) for value in row] for row in (*table.rows, *table.foot)]
    return _aligned(table.header, rows, table.left)


def titled(tables: Iterable[Table]) -> str:
    """Tables for a terminal, each below its title and its notes, where it has any."""
    return "\n\n".join(block for table in tables for block in (table.title, *table.notes, terminal(table)) if block)


def markdown(table: Table) -> str:
    """Title, notes and the table, for a document."""
    rows = [[_markdown_cell(value) for value in row] for row in (*table.rows, *table.foot)]
    blocks = [f"### {escape_markdown(table.title)}"]
    blocks += [f"**{escape_markdown(text)}**" for text in table.warnings]
    blocks += map(escape_markdown, table.notes)
    blocks.append(_aligned([escape_markdown(name) for name in table.header], rows, table.left))
    return "\n\n".join(blocks)


def escape_markdown(text: str) -> str:
    """Text in which no character has a meaning of Markdown's or HTML's."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split())).replace("&", "&amp;")


def latex(table: Table, where: str = "") -> str:
    """A ``table`` environment; needs the package booktabs. ``where`` tells its caption from those of other sections.

    LaTeX numbers tables itself, so that the paper's number at the beginning of the title is left out.
    """
    aligned = "l" * table.left + "r" * (len(table.header) - table.left)
    rows = [" & ".join(map(_latex_cell, row)) + r" \\" for row in table.rows]
    foot = [" & ".join(map(_latex_cell, row)) + r" \\" for row in table.foot]
    title = _NUMBERED.sub("", table.title)
    title += f" ({where})." if where else "."
    caption = " ".join([title, *table.warnings, *table.notes])
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(caption)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{aligned}}}",
        r"\toprule",
        " & ".join(map(escape_latex, table.header)) + r" \\",
        r"\midrule",
        *rows,
        *([r"\midrule", *foot] if foot else []),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """Text in which no character has a meaning of LaTeX's."""
    return "".join(_LATEX.get(character, character) for character in text)


def to_csv(table: Table) -> str:
    """The numbers with all their digits; deviation, interval and marks have columns of their own, empty without a number.

    Words that begin like a formula are those of :func:`csv_word`.
    """
    everything = (*table.rows, *table.foot)
    spread = [_columns([row[i] for row in everything]) for i in range(len(table.header))]
    header = [f"{name}{_SUBCOLUMNS[i]}" for name, used in zip(table.header, spread, strict=True) for i in used]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(csv_word, header))
    for row in everything:
        writer.writerow([_plain(value)[i] for value, used in zip(row, spread, strict=True) for i in used])
    return text.getvalue()


def csv_word(text: str) -> str:
    """Text as a spreadsheet shows it: what it would compute, since it begins like a formula, gets an apostrophe before it.

    A number stays one.

    >>> csv_word("=1+1"), csv_word("-0.5"), csv_word("mean")
    ("'=1+1", '-0.5', 'mean')
    """
    text = printable(text)  # a tab or a carriage return begins a formula or a row, too
    if not text.startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """A Markdown table whose columns are as wide as their longest entry, the first ``left`` to the left."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return "| " + " | ".join(padded) + " |"

    rule = "|".join("-" * (w + 2) if i < left else "-" * (w + 1) + ":" for i, w in enumerate(widths))
    return "\n".join([line(header), f"|{rule}|", *map(line, rows)])


def _markdown_cell(value: Value) -> str:
    number, *rest, marks = parts(value)
    text = escape_markdown(number)
    if isinstance(value, Number) and value.bold:
        text = f"**{text}**"
    return " ".join([text, *(escape_markdown(part) for part in (*rest, marks) if part)])


def _latex_cell(value: Value) -> str:
    number, sd, beside, marks = map(escape_latex, parts(value))
    if isinstance(value, Number) and value.bold:
        number = rf"\textbf{{{number}}}"
    raised = rf"\textsuperscript{{{marks}}}" if marks else ""
    return " ".join(part for part in (number + raised, sd, beside) if part)


def _columns(values: Sequence[Value]) -> list[int]:
    """The sub-columns that a column of the CSV needs: those in which any row has something; at least the first."""
    return [i for i in range(len(_SUBCOLUMNS)) if any(_plain(value)[i] for value in values)] or [0]


def _plain(value: Value) -> tuple[str, ...]:
    if isinstance(value, Interval):
        return ("", "", *_numbers(value.low, value.high), "", "")
    if not isinstance(value, Number):
        return (csv_word(value or ""), "", "", "", "", "")
    low, high = value.interval or (None, None)
    return (*_numbers(value.value, value.sd, low, high), csv_word(value.marks), *_numbers(value.paper))


def _numbers(*values: float | None) -> Iterator[str]:
    for value in values:
        yield "" if value is None or isnan(value) else repr(float(value))
