"""The methods under comparison: one file each, all a :class:`Method` on the same encoder."""

from difflib import get_close_matches
from typing import Any

from benchmarks.errors import RunError
from benchmarks.methods.base import Method, MethodOutput
from benchmarks.methods.baseline import Baseline
from benchmarks.methods.dsnet import DSNet

__all__ = ["METHODS", "Baseline", "DSNet", "Method", "MethodOutput", "create_method"]

METHODS: dict[str, type[Method]] = {method.name: method for method in (Baseline, DSNet)}
"""The methods by the name that the command line takes."""


def create_method(name: str, encoder: Any, num_classes: int, **config: Any) -> Method:
    """Puts a method on an encoder; ``config`` is what the method takes besides.

    Raises:
        RunError: an unknown name.
    """
    if name not in METHODS:
        near = get_close_matches(name, METHODS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(METHODS)}"
        raise RunError(f"unknown method {name!r}; {hint}")
    return METHODS[name](encoder, num_classes, **config)
