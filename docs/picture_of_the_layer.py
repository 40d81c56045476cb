"""Draws ``docs/layer.svg``, the picture of the layer in the README: ``python docs/picture_of_the_layer.py``.

What runs in inference too is drawn in red, as in the paper's Figure 1; the rest serves training alone.
"""

from pathlib import Path

WIDTH, HEIGHT = 840, 300
RED, GREY, PAPER, BOX = "#c0392b", "#5f6b76", "#ffffff", "#f4f6f8"

# name: (x, y, width, height, lines of text, whether it runs in inference)
BOXES = {
    "x": (20, 50, 110, 50, ("utterance", "X"), True),
    "x_n": (20, 230, 110, 50, ("neutral speech", "of the speaker, Xₙ"), False),
    "e": (180, 50, 110, 50, ("your encoder", "E"), True),
    "e_n": (180, 230, 110, 50, ("the same", "E"), False),
    "p_er": (370, 50, 90, 50, ("projector", "P_er"), True),
    "p_ei": (370, 140, 90, 50, ("projector", "P_ei"), False),
    "r": (560, 140, 90, 50, ("restorer", "R"), False),
    "c": (560, 50, 90, 50, ("classifier", "C"), True),
    "y": (720, 50, 100, 50, ("emotion", "ŷ"), True),
    "h_hat": (720, 140, 100, 50, ("ĥ ≈ h", "reconstruction"), False),
}

# from, to, label over the arrow
ARROWS = [
    ("x", "e", ""),
    ("e", "p_er", "h"),
    ("p_er", "c", "z_er"),
    ("c", "y", ""),
    ("x_n", "e_n", ""),
    ("p_ei", "r", "z_ei"),
    ("r", "h_hat", ""),
]


def text(x: float, y: float, content: str, colour: str, size: int = 13, anchor: str = "middle") -> str:
    """One line of text."""
    font = 'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"'
    return f'<text x="{x}" y="{y}" fill="{colour}" font-size="{size}" text-anchor="{anchor}" {font}>{content}</text>'


def box(name: str) -> str:
    """A rounded box with two lines of text."""
    x, y, width, height, lines, in_inference = BOXES[name]
    colour = RED if in_inference else GREY
    shape = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{BOX}" stroke="{colour}" stroke-width="1.5"/>'
    size = 11 if max(map(len, lines)) > 13 else 13
    return shape + "".join(
        text(x + width / 2, y + 21 + 17 * number, line, colour, size) for number, line in enumerate(lines)
    )


def path(points: list[tuple[float, float]], colour: str, dashed: bool = False) -> str:
    """A line through points that ends in an arrowhead; a dashed one joins what a loss compares, without a head."""
    way = "M" + " L".join(f"{x} {y}" for x, y in points)
    if dashed:
        return f'<path d="{way}" fill="none" stroke="{colour}" stroke-width="1.5" stroke-dasharray="4 4"/>'
    head = "red" if colour == RED else "grey"
    return f'<path d="{way}" fill="none" stroke="{colour}" stroke-width="1.5" marker-end="url(#{head})"/>'


def arrow(start: str, end: str, label: str) -> str:
    """A straight arrow from one box to the next on its right."""
    x, y, width, height, _, first = BOXES[start]
    second = BOXES[end][5]
    colour = RED if first and second else GREY
    middle = y + height / 2
    line = path([(x + width, middle), (BOXES[end][0] - 3, middle)], colour)
    return line + (text(x + width + 35, middle - 7, label, colour) if label else "")


def picture() -> str:
    """The whole SVG document."""
    heads = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        f'<path d="M0 0 L8 4 L0 8 z" fill="{colour}"/></marker>'
        for name, colour in (("red", RED), ("grey", GREY))
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="The layer: two '
        "projectors split the features of your encoder; the emotion-relevant part is classified, the other is calibrated "
        'against neutral speech of the speaker.">',
        f"<defs>{heads}</defs>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="10" fill="{PAPER}"/>',
        text(20, 26, "red: training and inference", RED, 12, "start"),
        text(200, 26, "grey: training alone", GREY, 12, "start"),
        *(arrow(*each) for each in ARROWS),
        path([(325, 75), (325, 165), (367, 165)], GREY),  # h to P_ei
        path([(535, 75), (535, 152), (557, 152)], GREY),  # z_er to R
        path([(415, 103), (415, 137)], GREY, dashed=True),  # orthogonality
        text(422, 125, "orthogonal, L_o", GREY, 12, "start"),
        path([(290, 255), (415, 255), (415, 193)], GREY, dashed=True),  # calibration
        text(300, 248, "hₙ", GREY, 13, "start"),
        text(422, 228, "calibrated to neutral speech, L_c", GREY, 12, "start"),
        text(770, 207, "L_r", GREY, 12),
        *(box(name) for name in BOXES),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("layer.svg").write_text(picture(), encoding="utf-8")
