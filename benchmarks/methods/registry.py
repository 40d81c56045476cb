"""The methods by name, and how one is put on an encoder."""

from typing import Any

from benchmarks.errors import RunError
from benchmarks.methods import VARIANTS, check_method
from benchmarks.methods.base import Method
from benchmarks.methods.baseline import Baseline
from benchmarks.methods.dann import DANN
from benchmarks.methods.difl import DIFL
from benchmarks.methods.dsc import DSC
from benchmarks.methods.dsnet import DSNet
from benchmarks.methods.isnet import ISNet
from benchmarks.methods.menan import MEnAN
from benchmarks.methods.subtraction import Subtraction

METHODS: dict[str, type[Method]] = {
    method.name: method for method in (Baseline, MEnAN, DSC, ISNet, DIFL, DANN, Subtraction, DSNet)
}
"""The methods by the name that the command line takes, in the order of Table 2."""


def method_class(name: str) -> type[Method]:
    """The class behind the name of a method or a variant.

    Raises:
        RunError: an unknown name.
    """
    base, _ = VARIANTS.get(name, (name, {}))
    if base not in METHODS:
        check_method(name)
    return METHODS[base]


def create_method(name: str, encoder: Any, num_classes: int, **config: Any) -> Method:
    """Puts a method on an encoder; ``config`` is what the method takes besides.

    Raises:
        RunError: an unknown name, or settings that the method does not take.
    """
    method = method_class(name)
    _, preset = VARIANTS.get(name, (name, {}))
    try:
        return method(encoder, num_classes, **{**preset, **config})
    except TypeError as error:
        raise RunError(f"method {name} does not take these settings: {error}") from error
