"""The same small work on many files, on all cores."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from tqdm import tqdm

_Argument = TypeVar("_Argument")
_Returned = TypeVar("_Returned")


def on_all_cores(
    work: Callable[[_Argument], _Returned],
    arguments: Sequence[_Argument],
    title: str,
    unit: str = "file",
    workers: int | None = None,
) -> list[_Returned]:
    """Calls ``work`` with each argument, with a progress bar, and returns what it returned in the arguments' order.

    Threads suffice, since libsndfile, soxr and torch let go of the lock.

    Args:
        work: what is called with each argument, on one thread of torch.
        arguments: what it is called with.
        title: the progress bar's title.
        unit: what the progress bar counts.
        workers: calls at a time; None for as many as there are cores.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # one file is little work, which threads within torch would only wait for
    pool = ThreadPoolExecutor(workers or usable_cores())
    try:
        returned = pool.map(work, arguments)
        return list(tqdm(returned, desc=title, total=len(arguments), unit=unit, mininterval=1, leave=False))
    finally:
        pool.shutdown(cancel_futures=True)  # on Ctrl-C, not after the whole corpus
        torch.set_num_threads(threads)


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
