"""A benchmark: the cells of its grids, computed side by side, each on disk as soon as it is finished."""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from tqdm import tqdm

from benchmarks.data import PROTOCOLS, select_folds
from benchmarks.errors import RunError
from benchmarks.grid.cell import run_cell
from benchmarks.grid.corpus_data import identify, load_data, usable
from benchmarks.grid.executors import check_executor, compute, threads_each
from benchmarks.grid.plan import PlannedCell, open_corpus, plan
from benchmarks.grid.record import LINES_NAME, RESULT_NAME
from benchmarks.grid.spec import CorpusSpec, Grid
from benchmarks.grid.speed_lines import measure_grids
from benchmarks.output.files import LOCK_NAME, lock, read_json, write_lines
from benchmarks.training import check_same
from benchmarks.training.device import make_accelerator, resolve_precision
from dsnet_plugin import DSNetError

Line = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """``lines``: the records of the finished cells; ``failed``: reasons by folder; ``left``: cells not begun in time.

    ``unmeasured`` says the same of measurements of speed.
    """

    lines: list[Line]
    failed: dict[str, str]
    left: int
    unmeasured: int = 0


@dataclass(frozen=True)
class Job:
    """What a worker needs to know besides the cell."""

    out: Path
    device: str
    threads: int
    skip_problems: bool


def run_suite(
    grids: Sequence[Grid],
    out: Path,
    jobs: int = 1,
    executor: str = "loky",
    time_budget: float | None = None,
    device: str = "auto",
    skip_problems: bool = False,
    say: Callable[[str], None] = print,
) -> Outcome:
    """Computes what is not there yet of a specification.

    ``OUT/cells.jsonl`` has a line for each finished cell; everything else of a cell is in a folder of its own below OUT,
    named in the line. After the cells comes what grids with ``speed`` measure, in ``OUT/speed.jsonl``. Killed at any
    moment and started again, it goes on and ends with the same lines.

    Args:
        grids: from :func:`benchmarks.grid.spec.read_spec`.
        out: the run's folder; finished cells of other grids in it keep their lines.
        jobs: cells side by side.
        executor: ``"loky"``, ``"ray"`` or ``"dask"``.
        time_budget: seconds after which no further cell and no measurement is begun.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        skip_problems: go on without audio files that are absent or cannot be read.
        say: gets each line of the story.

    Raises:
        DSNetError: an input that does not allow the benchmark, or another run in the same folder; finished cells stay.
    """
    deadline = None if time_budget is None else time.monotonic() + time_budget
    check_executor(executor)
    accelerator = make_accelerator(device, "fp32")
    precision = partial(resolve_precision, device=accelerator.device)
    cells = plan(grids, precision)
    with lock(out):
        identities = _identities(cells, skip_problems, say)
        done = {cell.folder: line for cell in cells if (line := _finished(out, cell, identities)) is not None}
        others = _other_lines(out, {cell.folder for cell in cells})
        write_lines(out / LINES_NAME, [*done.values(), *others])
        waiting = [cell for cell in cells if cell.folder not in done]
        say(f"{len(cells)} cells: {len(done)} finished, {len(waiting)} to compute, {jobs} at a time")
        job = Job(out.absolute(), device, threads_each(jobs), skip_problems)
        failed: dict[str, str] = {}

        def in_time() -> bool:
            return deadline is None or time.monotonic() < deadline

        def say_above(text: str) -> None:
            with tqdm.external_write_mode():
                say(text)

        with tqdm(total=len(cells), initial=len(done), desc="cells", unit="cell", position=0) as bar:
            for cell, found in compute(partial(_work, job), waiting, jobs, executor, in_time, say_above):
                bar.update()
                if isinstance(found, DSNetError):
                    failed[cell.folder] = " ".join(str(found).split())
                    continue
                done[cell.folder] = found
                with (out / LINES_NAME).open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(found) + "\n")
                bar.set_postfix_str(f"{cell.folder} UAR {found['uar']:.1f}")
        lines = [done[cell.folder] for cell in cells if cell.folder in done]
        write_lines(out / LINES_NAME, [*lines, *others])
        unmeasured = measure_grids(grids, out, accelerator.device, precision, in_time, say)
    outcome = Outcome(lines, failed, len(cells) - len(lines) - len(failed), unmeasured)
    for folder, reason in failed.items():
        say(f"failed: {folder}: {reason}")
    more = f"; {outcome.left} left, go on with the same command" if outcome.left else ""
    say(f"{len(lines)} of {len(cells)} cells in {out / LINES_NAME}{more}")
    if unmeasured:
        say(f"speed: {unmeasured} measurements left, go on with the same command")
    return outcome


# Random numbers and Accelerate's state are a process' own, and a worker of Dask may have several threads.
_one_at_a_time = threading.Lock()


def _work(job: Job, cell: PlannedCell) -> Line | DSNetError:
    """Computes a cell, in whatever process this is; what makes this one impossible and no other is returned."""
    folder = job.out / cell.folder
    folder.mkdir(parents=True, exist_ok=True)
    # A worker that outlived a killed run may still be in the folder.
    with _one_at_a_time, FileLock(folder / LOCK_NAME):
        torch.set_num_threads(job.threads)
        try:
            accelerator = make_accelerator(job.device, cell.settings.precision)
            load = partial(
                load_data,
                max_frames=cell.settings.max_frames,
                kind=cell.input_kind,
                device=accelerator.device,
                skip=job.skip_problems,
            )
            own = load(cell.corpus)
            record = run_cell(
                cell.method.method,
                dict(cell.method.config),
                own,
                cell.protocol,
                select_folds(PROTOCOLS[cell.protocol](own.data.utterances), str(cell.fold))[0],
                cell.settings,
                folder,
                accelerator,
                {target.name: load(target) for target in cell.targets},
                cell.method.label,
            )
        except DSNetError as error:
            return error
        except torch.OutOfMemoryError as error:
            return RunError(f"out of memory on the device: {error}")
    return {"folder": cell.folder, **record}


def _identities(
    cells: Sequence[PlannedCell], skip_problems: bool, say: Callable[[str], None]
) -> dict[CorpusSpec, dict[str, Any]]:
    """What identifies each corpus. Its features are computed here, once, before many workers want them."""
    needed = [
        (corpus, cell.settings.max_frames, cell.input_kind) for cell in cells for corpus in (cell.corpus, *cell.targets)
    ]
    identities = {}
    for spec, max_frames, kind in dict.fromkeys(needed):
        corpus, _ = usable(open_corpus(spec), max_frames, skip_problems, say, kind)
        if spec not in identities:
            say(f"{spec.name}: {len(corpus.utterances):,} utterances, {len(corpus.speakers)} speakers")
        identities[spec] = identify(corpus, spec.name)
    return identities


def _finished(out: Path, cell: PlannedCell, identities: Mapping[CorpusSpec, dict[str, Any]]) -> Line | None:
    """The line of a cell that has all its tests on disk.

    Raises:
        RunError: what is on disk is another cell, or was tested on another corpus of the same name.
    """
    path = out / cell.folder / RESULT_NAME
    if not path.is_file():
        return None
    record = read_json(path)
    wanted = {
        "corpus": identities[cell.corpus],
        "method": cell.method.method,
        "config": dict(cell.method.config),
        "protocol": cell.protocol,
        "fold": cell.fold,
        "settings": asdict(cell.settings),
    }
    config = {key: value for key, value in record["cell"]["config"].items() if key != "num_speakers"}
    check_same(wanted, {**record["cell"], "config": config}, path.parent)
    tests = record["tests"]
    for target in cell.targets:
        if target.name in tests:
            check_same({"corpus": identities[target]}, {"corpus": tests[target.name]["corpus"]}, path.parent)
    names = {cell.corpus.name, *(target.name for target in cell.targets)}
    return {"folder": cell.folder, **record} if names <= tests.keys() else None


def _other_lines(out: Path, planned: set[str]) -> list[Line]:
    """The lines of finished cells that are in the folder and not asked for, such as those of other folds."""
    found = {path.parent.relative_to(out).as_posix(): path for path in sorted(out.glob(f"*/*/*/*/*/{RESULT_NAME}"))}
    return [{"folder": folder, **read_json(path)} for folder, path in found.items() if folder not in planned]
