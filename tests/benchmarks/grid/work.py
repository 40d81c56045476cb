"""What the workers of ``test_executors`` compute."""

import os
import signal
import time
from pathlib import Path

from benchmarks.errors import RunError


def double(cell):
    return 2 * cell


def note(folder, cell):
    """Leaves a file while it works, and another one afterwards."""
    Path(folder, f"begun-{cell}").touch()
    time.sleep(0.3)
    Path(folder, f"ended-{cell}").touch()
    return cell


def kill_at_2(cell):
    if cell == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return RunError("impossible by itself") if cell == 3 else os.getpid()


def full_disk(cell):
    raise OSError(28, f"No space left on device for {cell}")
