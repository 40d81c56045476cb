"""Names and messages without characters that could harm a terminal."""

from pathlib import Path


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
