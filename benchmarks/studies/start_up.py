"""How long the command line takes to its first answer, as a multiple of what Python itself takes.

``python -m benchmarks.studies.start_up --rounds 5`` runs each call five times, each time in a process of its own, takes turns
between them, and prints for each the median of its seconds and of its ratio to ``python -c pass`` of the same round.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median

from benchmarks.output.formats import terminal
from benchmarks.output.table import Table

CALLS: tuple[tuple[str, ...], ...] = (
    ("--help",),
    ("train", "--help"),
    ("train", "--nonsense"),
    ("train", "--method", "nonsense"),
    ("train", "--corpus", "nonsense"),
    ("train", "--corpus", "ravdess"),
    ("train", "--corpus", "ravdess", "--root", "nonsense"),
    ("train", "--backbone", "nonsense"),
    ("benchmark", "nonsense"),
    ("benchmark", "quick", "--executor", "nonsense"),
    ("report", "nonsense"),
    ("predict", "nonsense", "hello.wav"),
    ("enrol", "nonsense", "anna", "hello.wav"),
    ("export", "nonsense", "--format", "onnx"),
    ("demo", "nonsense"),
    ("speed", "--method", "nonsense"),
    ("corpora",),
    ("corpora", "ravdess"),
    ("corpora", "nonsense"),
)
"""What is answered from words alone: help, lists and wrong calls."""


def seconds(command: Sequence[str]) -> float:
    """The wall-clock seconds of a Python process with these arguments, whatever its exit status."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, *command], capture_output=True, check=False)
    return time.perf_counter() - begin


def main() -> int:
    """Measures every call and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    taken: dict[tuple[str, ...], list[tuple[float, float]]] = {call: [] for call in CALLS}
    for _ in range(rounds):
        for call, pairs in taken.items():
            bare = seconds(["-c", "pass"])
            dsnet = seconds(["-m", "benchmarks", *call])
            pairs.append((dsnet, dsnet / bare))
    rows = [
        [f"dsnet {' '.join(call)}", f"{median(s for s, _ in pairs):.2f}", f"{median(r for _, r in pairs):.1f}"]
        for call, pairs in taken.items()
    ]
    print(terminal(Table(["call", "seconds", "times python -c pass"], rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
