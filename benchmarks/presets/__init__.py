"""The specifications that come with the package, read by :func:`benchmarks.grid.spec.read_spec`."""

from importlib.resources import files


def presets() -> list[str]:
    """The names of the specifications that come with the package."""
    names = [entry.name for entry in files("benchmarks.presets").iterdir()]
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))
