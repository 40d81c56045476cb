"""The methods under comparison: one file each, all a :class:`Method` on the same encoder."""

from difflib import get_close_matches
from typing import TYPE_CHECKING

from benchmarks.errors import RunError
from dsnet_plugin.late import late_names

if TYPE_CHECKING:
    from benchmarks.methods.base import Batch, Config, Losses, Method, MethodOutput, Speakers, Step
    from benchmarks.methods.baseline import Baseline
    from benchmarks.methods.dann import DANN
    from benchmarks.methods.difl import DIFL
    from benchmarks.methods.dsc import DSC
    from benchmarks.methods.dsnet import DSNet
    from benchmarks.methods.isnet import ISNet
    from benchmarks.methods.menan import MEnAN
    from benchmarks.methods.registry import METHODS, create_method, method_class
    from benchmarks.methods.subtraction import Subtraction
else:
    __getattr__ = late_names(
        __name__,
        {
            "base": ["Batch", "Config", "Losses", "Method", "MethodOutput", "Speakers", "Step"],
            "baseline": ["Baseline"],
            "dann": ["DANN"],
            "difl": ["DIFL"],
            "dsc": ["DSC"],
            "dsnet": ["DSNet"],
            "isnet": ["ISNet"],
            "menan": ["MEnAN"],
            "registry": ["METHODS", "create_method", "method_class"],
            "subtraction": ["Subtraction"],
        },
    )

__all__ = [
    "DANN",
    "DIFL",
    "DSC",
    "METHODS",
    "METHOD_NAMES",
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
    "Subtraction",
    "check_method",
    "create_method",
    "method_class",
]

METHOD_NAMES = ("baseline", "menan", "dsc", "isnet", "difl", "dann", "dsnet")
"""The methods as the command line calls them, in the order of Table 2."""

VARIANTS: dict[str, tuple[str, "Config"]] = {
    "baseline-equal": ("baseline", {"equal_utterances": True}),
    "dsc-gate": ("dsc", {"fusion": "gate"}),
    "dsc-multistage": ("dsc", {"fusion": "multistage"}),
    "dsc-sub": ("dsc", {"fusion": "sub"}),
    "dsnet-enrolled": ("dsnet", {"reference": "difference"}),
    "dsnet-no-calibration": ("dsnet", {"gamma": 0.0}),
    "dsnet-no-orthogonality": ("dsnet", {"alpha": 0.0}),
    "dsnet-no-reconstruction": ("dsnet", {"beta": 0.0}),
    "subtraction": ("subtraction", {}),
}
"""Further names: a method and the settings that make it another one (the ablations are Table 4's). ``subtraction``, the plain
remedy, is no method of the paper's and stands here alone."""


def check_method(name: str) -> None:
    """Refuses what is no method or variant, without importing any.

    Raises:
        RunError: an unknown name; says which is near, or which there are.
    """
    known = [*METHOD_NAMES, *VARIANTS]
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
        raise RunError(f"unknown method {name!r}; {hint}")
