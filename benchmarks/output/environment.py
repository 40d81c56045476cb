"""What a result was computed with: versions, hardware, revision of the source."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def describe(device: torch.device) -> dict[str, Any]:
    """Versions, the device's name, threads and the git revision (None outside a checkout), for a result's record."""
    packages = ("torch", "torchaudio", "accelerate", "scikit-learn", "numpy")
    return {
        "dsnet_plugin": version("dsnet_plugin"),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu(),
        "threads": torch.get_num_threads(),
        "revision": _revision(),
    }


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
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
