"""The formats of ``dsnet export`` and the files that they make, for whoever needs no more than their names."""

from difflib import get_close_matches

from benchmarks.errors import RunError

FILE_NAMES = {"onnx": "model.onnx", "torchscript": "model.ts.pt", "pt2": "model.pt2"}
"""The name of the file of each format."""


def check_form(form: str) -> None:
    """Refuses an unknown format.

    Raises:
        RunError: names those that are known.
    """
    if form not in FILE_NAMES:
        near = get_close_matches(form, FILE_NAMES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(FILE_NAMES)}"
        raise RunError(f"unknown format {form!r}; {hint}")
