"""The methods under comparison: one file each, all a :class:`Method` on the same encoder."""

from difflib import get_close_matches
from typing import Any

from benchmarks.errors import RunError
from benchmarks.methods.base import Batch, Config, Losses, Method, MethodOutput, Speakers, Step
from benchmarks.methods.baseline import Baseline
from benchmarks.methods.dann import DANN
from benchmarks.methods.difl import DIFL
from benchmarks.methods.dsc import DSC
from benchmarks.methods.dsnet import DSNet
from benchmarks.methods.isnet import ISNet
from benchmarks.methods.menan import MEnAN

__all__ = [
    "DANN",
    "DIFL",
    "DSC",
    "METHODS",
    "VARIANTS",
    "Baseline",
    "Batch",
    "Config",
    "DSNet",
    "ISNet",
    "Losses",
    "MEnAN",
    "Method",
    "MethodOutput",
    "Speakers",
    "Step",
    "create_method",
    "method_class",
]

METHODS: dict[str, type[Method]] = {method.name: method for method in (Baseline, MEnAN, DSC, ISNet, DIFL, DANN, DSNet)}
"""The methods by the name that the command line takes, in the order of Table 2."""

VARIANTS: dict[str, tuple[str, Config]] = {
    "baseline-equal": ("baseline", {"equal_utterances": True}),
    "dsc-gate": ("dsc", {"fusion": "gate"}),
    "dsc-multistage": ("dsc", {"fusion": "multistage"}),
    "dsc-sub": ("dsc", {"fusion": "sub"}),
    "dsnet-enrolled": ("dsnet", {"reference": "difference"}),
    "dsnet-no-calibration": ("dsnet", {"gamma": 0.0}),
    "dsnet-no-orthogonality": ("dsnet", {"alpha": 0.0}),
    "dsnet-no-reconstruction": ("dsnet", {"beta": 0.0}),
}
"""Further names: a method and the settings that make it another one (the ablations are Table 4's)."""


def method_class(name: str) -> type[Method]:
    """The class behind the name of a method or a variant.

    Raises:
        RunError: an unknown name.
    """
    base, _ = VARIANTS.get(name, (name, {}))
    if base not in METHODS:
        known = [*METHODS, *VARIANTS]
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        raise RunError(f"unknown method {name!r}; {hint}")
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
