"""Where the cells of a grid are computed: this process, workers of its own, a Ray or a Dask cluster."""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib import import_module
from math import ceil
from typing import Any, NamedTuple

from benchmarks.errors import LostWorkerError, RunError

# joblib.Parallel is not used: with Dask it waits for ever on a cell that kills its workers, with Ray it queues cells
# behind busy actors, gives all results at the end alone, and asks for no GPU. Futures have all executors in one loop.

_PACKAGES = {"loky": "joblib", "ray": "ray", "dask": "distributed"}
_IDLE = 60  # seconds after which a worker that nobody asks any more ends itself, such as one whose parent was killed
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")

Function = Callable[[Any], Any]


class Workers(NamedTuple):
    """What computes cells, on this machine or others."""

    submit: Callable[[Any], "Future[Any]"]
    """Hands out a cell."""

    deaths: tuple[type[BaseException], ...]
    """The errors of a cell's future that say that its worker died."""


def compute(
    function: Function,
    cells: Iterable[Any],
    jobs: int,
    executor: str,
    go_on: Callable[[], bool] = lambda: True,
    say: Callable[[str], None] = print,
) -> Iterator[tuple[Any, Any]]:
    """Yields each cell with its ``function(cell)`` as it is finished.

    A cell whose worker dies is computed again, the second time with no other beside it. If that worker dies, too, the cell
    comes with a :class:`LostWorkerError` in the place of its result, and the others go on.

    Args:
        function: what computes a cell, in this process for one job with loky, else in others, to which it is sent.
        cells: its arguments.
        jobs: cells side by side; none waits in a queue.
        executor: one of ``EXECUTORS``.
        go_on: asked before each cell is begun; after a no those under way are finished, and no other is begun.
        say: gets a line when a worker dies.

    Raises:
        Exception: what ``function`` raises; cells under way are then given up.
    """
    waiting = deque(cells)
    if executor == "loky" and jobs == 1:
        while waiting and go_on():
            cell = waiting.popleft()
            yield cell, function(cell)
        return
    while waiting and go_on():
        lost = deque((yield from _until_a_loss(function, waiting, jobs, executor, go_on)))
        if lost:
            say("a worker died; what was under way is computed again, one at a time")
        while lost and go_on():
            for cell in (yield from _until_a_loss(function, lost, 1, executor, go_on)):
                yield (
                    cell,
                    LostWorkerError("its workers died, the last with nothing beside it, perhaps for lack of memory"),
                )


def check_executor(name: str) -> None:
    """Refuses an executor before there is anything to lose.

    Raises:
        RunError: an unknown one, or one whose package is not installed.
    """
    if name not in EXECUTORS:
        raise RunError(f"--executor {name}: expected one of {', '.join(EXECUTORS)}")
    try:
        import_module(_PACKAGES[name])
    except ModuleNotFoundError as error:
        raise RunError(f"--executor {name} needs {error.name}: pip install 'dsnet_plugin[cluster]'") from error


def threads_each(jobs: int) -> int:
    """How many of the threads that torch would take each of ``jobs`` cells side by side on this machine gets."""
    import torch

    return max(1, torch.get_num_threads() // jobs)


def _until_a_loss(
    function: Function, waiting: "deque[Any]", jobs: int, executor: str, go_on: Callable[[], bool]
) -> Generator[tuple[Any, Any], None, list[Any]]:
    """Takes cells from those waiting until a worker dies; returns those that were lost by that.

    The death of one of loky's workers is the end of all, so that any cell under way may be at fault.
    """
    lost: list[Any] = []
    running: dict[Future[Any], Any] = {}
    with EXECUTORS[executor](function, jobs) as workers:
        while True:
            while waiting and len(running) < jobs and not lost and go_on():
                cell = waiting.popleft()
                try:
                    running[workers.submit(cell)] = cell
                except workers.deaths:
                    lost.append(cell)
            if not running:
                return lost
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                cell = running.pop(future)
                try:
                    returned = future.result()
                except workers.deaths:
                    lost.append(cell)
                else:
                    yield cell, returned


@contextmanager
def _loky(function: Function, jobs: int) -> Iterator[Workers]:
    """Processes on this machine."""
    from joblib.externals.loky import ProcessPoolExecutor
    from joblib.externals.loky.process_executor import BrokenProcessPool

    # This process has a bar of its own, which those of the workers would write over.
    environment = {"TQDM_DISABLE": "1"} | dict.fromkeys(_THREAD_VARIABLES, str(threads_each(jobs)))
    pool = ProcessPoolExecutor(jobs, timeout=_IDLE, env=environment, initializer=_without_semaphore)
    try:
        yield Workers(partial(_submit, pool, function), (BrokenProcessPool,))
    finally:
        pool.shutdown(kill_workers=True)


def _submit(pool: Any, function: Function, cell: Any) -> "Future[Any]":
    """Hands out a cell. Workers that this starts ignore Ctrl-C, which a terminal sends them, too: this process ends them."""
    future: Future[Any]
    if threading.current_thread() is not threading.main_thread():
        future = pool.submit(function, cell)
        return future
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a child process inherits it
    try:
        future = pool.submit(function, cell)
    finally:
        signal.signal(signal.SIGINT, before)
    return future


def _without_semaphore() -> None:
    """Gives tqdm a lock that is no semaphore: Python's tracker complains of a semaphore that a killed process leaves."""
    from tqdm import tqdm

    tqdm.set_lock(threading.RLock())


@contextmanager
def _ray(function: Function, jobs: int) -> Iterator[Workers]:
    """Tasks on the cluster that is joined already or that ``RAY_ADDRESS`` names, else on workers of this machine.

    Ray itself computes a task again whose worker or node died, three times.
    """
    ray = import_module("ray")
    starts_ray = not ray.is_initialized()
    if starts_ray:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # what is computed here is nobody else's business
        address = os.environ.get("RAY_ADDRESS", "local")
        here = {"num_cpus": jobs, "include_dashboard": False} if address == "local" else {}
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **here)
    try:
        gpus = ray.cluster_resources().get("GPU", 0)
        share = 1 / ceil(jobs / gpus) if gpus else 0  # Ray hides the GPUs from a task that asks for none

        def run(cell: Any) -> Any:
            return function(cell)

        # Without max_calls a worker with a share of a GPU would end after each cell.
        task = ray.remote(num_gpus=share, max_calls=0, scheduling_strategy="SPREAD")(run)
        lost = ("WorkerCrashedError", "OutOfMemoryError", "NodeDiedError", "ObjectLostError", "LocalRayletDiedError")
        deaths = tuple(getattr(ray.exceptions, name) for name in lost)
        yield Workers(lambda cell: task.remote(cell).future(), deaths)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    finally:
        if starts_ray:
            ray.shutdown()


@contextmanager
def _dask(function: Function, jobs: int) -> Iterator[Workers]:
    """Tasks on the cluster that ``DASK_SCHEDULER_ADDRESS`` names, else on workers of this machine.

    Dask itself computes a task again whose worker died, three times.
    """
    distributed = import_module("distributed")
    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    environment = {"TQDM_DISABLE": "1"}
    here = {"n_workers": jobs, "threads_per_worker": 1, "dashboard_address": None, "env": environment}
    with distributed.Client(address, **({} if address else here)) as client:
        submit = client.get_executor(pure=False).submit
        yield Workers(partial(submit, function), (distributed.scheduler.KilledWorker,))


EXECUTORS: dict[str, Callable[[Function, int], AbstractContextManager[Workers]]] = {
    "loky": _loky,
    "ray": _ray,
    "dask": _dask,
}
"""Where cells can be computed, by the name that the command line takes."""
