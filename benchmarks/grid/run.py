"""A benchmark: the cells of its grids, computed side by side, each on disk as soon as it is finished."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from filelock import FileLock
from tqdm import tqdm

from benchmarks.corpora import Corpus
from benchmarks.errors import RunError
from benchmarks.grid.cell import CellContext, read_result, run_cell
from benchmarks.grid.checks import check_folds
from benchmarks.grid.corpus_data import describe, identify, load_data, usable
from benchmarks.grid.executors import check_executor, compute, threads_each
from benchmarks.grid.plan import PlannedCell, plan
from benchmarks.grid.record import RESULT_NAME, CellRecord
from benchmarks.grid.spec import CorpusSpec, Grid, open_corpus
from benchmarks.grid.speed_lines import measure_grids
from benchmarks.grid.summary import cell_line
from benchmarks.output.files import LOCK_NAME, append_line, lock, write_lines
from benchmarks.output.run_folder import LINES_NAME
from benchmarks.output.typed_json import to_json
from benchmarks.training import TrainingIdentity, check_same
from benchmarks.training.device import make_accelerator, resolve_precision
from dsnet_plugin import DSNetError


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    records: list[CellRecord]
    """The finished cells that were asked for, in their order."""

    failed: dict[str, str]
    """Why a cell could not be computed, by its folder."""

    left: int
    """How many cells were not begun in time."""

    unmeasured: int = 0
    """How many measurements of speed were not begun in time."""


@dataclass(frozen=True)
class Job:
    """What a worker needs to know besides the cell."""

    out: Path
    """The run's folder, absolute."""

    device: str
    """``"auto"``, ``"cpu"`` or ``"cuda"``."""

    threads: int
    """The threads that torch gets."""

    skip_problems: bool
    """Whether audio files may be absent or broken."""


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
        DSNetError: an input that does not allow the run, or another run in the same folder; finished cells stay.
    """
    deadline = None if time_budget is None else time.monotonic() + time_budget
    check_executor(executor)
    accelerator = make_accelerator(device, "fp32")
    precision = partial(resolve_precision, device=accelerator.device)
    cells = plan(grids, precision)
    with lock(out):
        corpora = _corpora(cells, accelerator.device, skip_problems, say)
        finished = {
            cell.folder: old_record for cell in cells if (old_record := _finished(out, cell, corpora)) is not None
        }
        others = _other_records(out, {cell.folder for cell in cells})
        waiting = [cell for cell in cells if cell.folder not in finished]
        utterances = {spec: corpus.utterances for spec, corpus in corpora.items()}
        check_folds([cell for cell in waiting if read_result(out, cell.folder) is None], utterances, say)
        _write_lines(out, [*finished.values(), *others])
        say(f"{len(cells)} cells: {len(finished)} finished, {len(waiting)} to compute, {jobs} at a time")
        job = Job(out.absolute(), device, threads_each(jobs), skip_problems)
        failed: dict[str, str] = {}

        def in_time() -> bool:
            return deadline is None or time.monotonic() < deadline

        def say_above(text: str) -> None:
            with tqdm.external_write_mode():
                say(text)

        with tqdm(total=len(cells), initial=len(finished), desc="cells", unit="cell", position=0) as bar:
            for cell, record_or_error in compute(partial(_work, job), waiting, jobs, executor, in_time, say_above):
                bar.update()
                if isinstance(record_or_error, DSNetError):
                    failed[cell.folder] = " ".join(str(record_or_error).split())
                    continue
                record = finished[cell.folder] = record_or_error
                append_line(out / LINES_NAME, to_json(record))
                say_above(cell_line(record))
                bar.set_postfix_str(f"{cell.folder} UAR {record.own_test.uar:.1f}")
        records = [finished[cell.folder] for cell in cells if cell.folder in finished]
        _write_lines(out, [*records, *others])
        unmeasured = measure_grids(grids, out, accelerator.device, precision, in_time, say)
    outcome = Outcome(records, failed, len(cells) - len(records) - len(failed), unmeasured)
    for folder, reason in failed.items():
        say(f"failed: {folder}: {reason}")
    more = f"; {outcome.left} left, go on with the same command" if outcome.left else ""
    say(f"{len(records)} of {len(cells)} cells in {out / LINES_NAME}{more}")
    if unmeasured:
        say(f"speed: {unmeasured} measurements left, go on with the same command")
    return outcome


# Random numbers and Accelerate's state are a process' own, and a worker of Dask may have several threads.
_one_at_a_time = threading.Lock()


def _work(job: Job, cell: PlannedCell) -> CellRecord | DSNetError:
    """Computes a cell in the calling process; an error that concerns this cell alone is returned, not raised."""
    folder = job.out / cell.folder
    folder.mkdir(parents=True, exist_ok=True)
    # A worker that outlived a killed run may still be in the folder.
    with _one_at_a_time, FileLock(folder / LOCK_NAME):
        torch.set_num_threads(job.threads)
        try:
            accelerator = make_accelerator(job.device, cell.settings.precision)
            load = partial(load_data, front_end=cell.front_end, device=accelerator.device, skip=job.skip_problems)
            return run_cell(cell, CellContext(job.out, accelerator, load))
        except DSNetError as error:
            return error
        except torch.OutOfMemoryError as error:
            return RunError(f"out of memory on the device: {error}")


def _corpora(
    cells: Sequence[PlannedCell], device: torch.device, skip_problems: bool, say: Callable[[str], None]
) -> dict[CorpusSpec, Corpus]:
    """Each corpus with the utterances in use. Features are computed here, once, before many workers want them."""
    needed = [(corpus, cell.front_end) for cell in cells for corpus in (cell.corpus, *cell.targets)]
    corpora: dict[CorpusSpec, Corpus] = {}
    for spec, front_end in dict.fromkeys(needed):
        corpus, _ = usable(open_corpus(spec), front_end, device, skip_problems, say)
        if spec not in corpora:
            say(f"{spec.name}: {describe(corpus)}")
            if low := corpus.report.low_rate:
                file, rate = next(iter(low.items()))
                say(
                    f"{len(low)} files below 16,000 Hz, such as {file} ({rate:,} Hz), are resampled and lack the upper band"
                )
        corpora[spec] = corpus
    return corpora


def _finished(out: Path, cell: PlannedCell, corpora: Mapping[CorpusSpec, Corpus]) -> CellRecord | None:
    """The record of a cell that has its model and all its tests on disk.

    Raises:
        RunError: what is on disk is another cell, or was tested on another corpus of the same name.
        CheckpointError: what is on disk is damaged, or of another release.
    """
    record = read_result(out, cell.folder)
    if record is None:
        return None
    folder = out / cell.folder
    corpus = identify(corpora[cell.corpus], cell.corpus.name)
    asked = TrainingIdentity(
        corpus, cell.method.method, dict(cell.method.config), cell.protocol, cell.fold, cell.settings
    )
    config = {key: value for key, value in record.identity.config.items() if key != "num_speakers"}
    check_same(asked, replace(record.identity, config=config), folder)
    for target in cell.targets:
        if target.name in record.tests:
            check_same(identify(corpora[target], target.name), record.tests[target.name].corpus, folder)
    names = {cell.corpus.name, *(target.name for target in cell.targets)}
    return record if names <= record.tests.keys() else None


def _other_records(out: Path, planned: set[str]) -> list[CellRecord]:
    """Finished cells that are in the folder and not asked for, such as those of other folds."""
    folders = (path.parent.relative_to(out).as_posix() for path in sorted(out.glob(f"*/*/*/*/*/{RESULT_NAME}")))
    records = (read_result(out, folder) for folder in folders if folder not in planned)
    return [record for record in records if record is not None]


def _write_lines(out: Path, records: Sequence[CellRecord]) -> None:
    write_lines(out / LINES_NAME, [to_json(record) for record in records])
