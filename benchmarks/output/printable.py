"""Names and messages without characters that could harm a terminal."""

from pathlib import Path
from typing import Any


def printable(text: str | Path) -> str:
    r"""The text with all that does not print in escapes: newlines, escape codes, bytes of a name that is not UTF-8.

    >>> printable("a\x1b[2Jb\n.wav")
    'a\\x1b[2Jb\\n.wav'
    >>> printable("Łódź \udce9.wav")
    'Łódź \\udce9.wav'
    """
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(text))


def printable_lines(text: str) -> str:
    """The same for text of several lines, which stay lines."""
    return "\n".join(map(printable, text.split("\n")))


def printable_json(value: Any) -> Any:
    r"""What ``json.loads`` gave, with all its text printable, for files that other programs open.

    >>> printable_json({"label\0": ["a\x1b[2J", 1]})
    {'label\\x00': ['a\\x1b[2J', 1]}
    """
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [printable_json(entry) for entry in value]
    if isinstance(value, dict):
        return {printable(key): printable_json(entry) for key, entry in value.items()}
    return value


def one_line(text: str, most: int = 1_000) -> str:
    r"""The text as one line that prints; what is longer than ``most`` letters loses its middle, since remedies stand last.

    >>> one_line("a\n  b\t c")
    'a b c'
    >>> one_line("expected " + "x" * 100 + ", give less", 30)
    'expected xxxxxx...x, give less'
    """
    line = printable(" ".join(text.split()))
    return line if len(line) <= most else f"{line[: most // 2]}...{line[len(line) - most // 2 + 3 :]}"
