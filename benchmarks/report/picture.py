"""A figure of the report, as PNG and SVG."""

import io
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context

DPI = 150


@dataclass(frozen=True)
class Picture:
    """A figure.

    ``name`` is that of its files, ``caption`` says what is seen, ``wide`` is the width in CSS pixels below which its letters
    are too small to read.
    """

    name: str
    title: str
    caption: str
    png: bytes
    svg: bytes
    wide: int


def render(figure: Any, name: str, title: str, caption: str) -> Picture:
    """Writes a matplotlib figure as PNG and SVG, on white; the same figure gives the same bytes."""
    options = {"facecolor": "white", "dpi": DPI}
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", **options)
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None}, **options)
    return Picture(name, title, caption, png.getvalue(), svg.getvalue(), round(72 * figure.get_figwidth()))
