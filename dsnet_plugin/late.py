"""Names of a package that are imported when they are asked for, so that a command line need not wait for torch."""

from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any


def late_names(package: str, modules: Mapping[str, Collection[str]]) -> Callable[[str], Any]:
    """Makes the ``__getattr__`` of a package whose names are imported when they are asked for (PEP 562).

    The package repeats these imports under ``TYPE_CHECKING``, for whoever reads types. None of the names may be that of a
    module in the package: importing the module would put it in the name's place.

    Args:
        package: the package's ``__name__``.
        modules: for each of its modules the names that come from it.
    """
    homes = {name: f"{package}.{module}" for module, names in modules.items() for name in names}

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return get
