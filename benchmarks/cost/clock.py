"""Time on a device: marks that no step waits for, calls from idle to idle, and several things measured in turn."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch

T = TypeVar("T")


class Clock:
    """The time of a device.

    On the CPU it is that of ``time.perf_counter``. On CUDA a mark is an event between the kernels, so that a training loop can be
    marked without waiting for the device.

    Args:
        device: the device that computes.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def mark(self) -> Any:
        """A moment, for :meth:`between`."""
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def between(self, start: Any, end: Any) -> float:
        """Seconds between two marks; on CUDA after the device has reached the second."""
        return float(start.elapsed_time(end)) / 1000 if self.device.type == "cuda" else end - start

    def wait(self) -> None:
        """Waits until the device has done all its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, run: Callable[[], object]) -> float:
        """The seconds that a call takes, the device idle before and after."""
        self.wait()
        started = time.perf_counter()
        run()
        self.wait()
        return time.perf_counter() - started


def in_turn(measures: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Measures several things once a round, so that other work of the machine slows all of them alike.

    Every other round goes backwards. One more round comes first and does not count: it warms up.
    """
    measured: dict[str, list[T]] = {name: [] for name in measures}
    for number in range(rounds + 1):
        for name in list(measures)[:: 1 if number % 2 else -1]:
            measured[name].append(measures[name]())
    return {name: results[1:] for name, results in measured.items()}


def median_ratio(ones: Sequence[float], others: Sequence[float]) -> float:
    """The median of ``one / other`` over the rounds in which both were measured."""
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))
