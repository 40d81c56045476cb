"""The same small work on many files, on all cores."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from tqdm import tqdm

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def on_all_cores(
    work: Callable[[_Item], _Result],
    items: Sequence[_Item],
    title: str,
    unit: str = "file",
    workers: int | None = None,
) -> list[_Result]:
    """The results in order, with a progress bar; threads suffice, since libsndfile, soxr and torch let go of the lock.

    Args:
        work: is called with each item, on one thread of torch.
        items: its arguments.
        title: of the progress bar.
        unit: of the progress bar.
        workers: items at a time; None for as many as there are cores.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # one file is little work, which threads within torch would only wait for
    pool = ThreadPoolExecutor(workers or usable_cores())
    try:
        results = pool.map(work, items)
        return list(tqdm(results, desc=title, total=len(items), unit=unit, mininterval=1, leave=False))
    finally:
        pool.shutdown(cancel_futures=True)  # on Ctrl-C, not after the whole corpus
        torch.set_num_threads(threads)


def usable_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
