"""The report as one page that needs nothing besides itself: style, script, tables and figures are all in it."""

from base64 import b64encode
from collections.abc import Sequence
from importlib.resources import files
from math import isnan
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined

from benchmarks.output.formats import latex, to_csv
from benchmarks.output.table import Interval, Number, Table, Value, parts
from benchmarks.report.picture import Picture
from benchmarks.report.section import Section

TEMPLATE = "page.html.j2"


def render_page(about: Sequence[tuple[str, Sequence[str]]], remarks: Sequence[str], sections: Sequence[Section]) -> str:
    """Renders the page as HTML, in which everything that comes from data is escaped.

    Args:
        about: what was run: pairs of a term and the texts that explain it.
        remarks: notes on what was odd about the files.
        sections: the sections of the page, in their order.
    """
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    template = environment.from_string((files("benchmarks.report") / TEMPLATE).read_text(encoding="utf-8"))
    shown = [
        {
            "title": section.title,
            "budget": section.budget,
            "remarks": section.remarks,
            "items": [
                _table(item, section.where) if isinstance(item, Table) else _picture(item) for item in section.items
            ],
        }
        for section in sections
    ]
    return template.render(about=about, remarks=remarks, sections=shown)


def _table(table: Table, where: str) -> dict[str, object]:
    words = [_words(table, i) for i in range(len(table.header))]
    rows, foot = (
        [[_cell(value, word) for value, word in zip(row, words, strict=True)] for row in part]
        for part in (table.rows, table.foot)
    )
    return {
        "kind": "table",
        "name": table.name,
        "title": table.title,
        "notes": table.notes,
        "warnings": table.warnings,
        "folded": table.folded,
        "header": list(zip(table.header, words, strict=True)),
        "rows": rows,
        "foot": foot,
        "csv": _link("text/csv", to_csv(table)),
        "latex": _link("text/plain", latex(table, where)),
    }


def _words(table: Table, place: int) -> bool:
    """Whether a column holds words, which stand to the left, and not numbers."""
    column = [row[place] for row in table.rows if row[place] is not None]
    return place < table.left or (bool(column) and all(isinstance(value, str) for value in column))


def _cell(value: Value, word: bool) -> dict[str, object]:
    bold = isinstance(value, Number) and value.bold
    return {**parts(value)._asdict(), "bold": bold, "key": _key(value), "word": word}


def _key(value: Value) -> str:
    """What a column is sorted by; empty goes last."""
    if isinstance(value, str):
        return value
    number = value.low if isinstance(value, Interval) else value.value if isinstance(value, Number) else float("nan")
    return "" if isnan(number) else repr(float(number))


def _picture(picture: Picture) -> dict[str, object]:
    return {
        "kind": "picture",
        "name": picture.name,
        "title": picture.title,
        "caption": picture.caption,
        "wide": picture.wide,
        "source": f"data:image/svg+xml;base64,{b64encode(picture.svg).decode()}",
    }


def _link(kind: str, text: str) -> str:
    return f"data:{kind};charset=utf-8,{quote(text)}"
