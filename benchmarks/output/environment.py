"""What a result was computed with: versions, hardware, revision of the source."""

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch


@dataclass(frozen=True)
class Environment:
    """What a result was computed with."""

    versions: Mapping[str, str]
    """The versions of Python and of the packages that a number may depend on, by name."""

    device: str
    """The name of the GPU, or ``"CPU, "`` and the processor's."""

    threads: int
    """The threads that torch had."""

    revision: str | None
    """What ``git describe`` says of the source, ``-dirty`` with changes; None outside a checkout."""


def describe(device: torch.device) -> Environment:
    """Versions, hardware and revision of this process, for a result's record."""
    packages = ("dsnet_plugin", "torch", "torchaudio", "accelerate", "scikit-learn", "numpy")
    return Environment(
        {"python": platform.python_version(), **{name: version(name) for name in packages}},
        torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu(),
        torch.get_num_threads(),
        _revision(),
    )


def _cpu() -> str:
    """The processor's name where the system tells it, else its kind."""
    try:
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:
        names = []
    name = names[0].partition(":")[2].strip() if names else platform.processor()
    return f"CPU, {name or platform.machine()}"


def _revision() -> str | None:
    try:
        description = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return description.stdout.strip()
