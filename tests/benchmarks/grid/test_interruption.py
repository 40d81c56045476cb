"""Grids of real processes, killed, stopped and started again."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmarks.corpora.synthetic import SyntheticSettings, generate
from benchmarks.grid.run import run_suite
from benchmarks.grid.spec import read_spec
from tests.benchmarks.grid.small_grid import CELLS, finished, read_lines, start, write_spec

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs SIGKILL and /proc")


def holder(file):
    """The process that has a file open, or None."""
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(entry) == str(file):
                return int(entry.parts[2])
        except OSError:  # has ended meanwhile
            continue
    return None


def wait_for(what, process=None):
    """Asks again and again, until it is so."""
    while not (found := what()):
        assert process is None or process.poll() is None, f"ended before: {process.stderr.read()}"
        time.sleep(0.02)
    return found


def in_training(out):
    """Folders of cells that have finished an epoch, and are not finished."""
    return [path.parent for path in out.rglob("state.safetensors") if not (path.parent / "result.json").exists()]


def kill_a_worker_in_training(out, killed):
    """Once a cell is finished and another one is in training: its process. ``killed`` gets what was there then."""
    while not killed:
        done = finished(out)
        for folder in in_training(out) if done else []:
            if (pid := holder(folder / "lock")) not in (None, os.getpid()):
                os.kill(pid, signal.SIGKILL)
                killed |= {"folder": folder.relative_to(out).as_posix(), "finished": done}
                killed["amid"] = not (folder / "result.json").exists()
                return
        time.sleep(0.02)


@pytest.mark.parametrize("executor", ["loky", "ray"])
def test_a_worker_that_is_killed_costs_nothing_that_is_finished_and_the_grid_completes(whole, spec, tmp_path, executor):
    out, killed = tmp_path / "out", {}
    killer = threading.Thread(target=kill_a_worker_in_training, args=(out, killed), daemon=True)
    killer.start()
    outcome = run_suite(read_spec(str(spec), {}), out, jobs=2, executor=executor)
    killer.join(timeout=1)
    assert killed["amid"]
    assert (outcome.failed, outcome.left) == ({}, 0)
    assert killed["finished"].items() <= finished(out).items()  # not written again
    assert read_lines(out) == read_lines(whole)


def test_dask_gives_the_same_lines(whole, spec, tmp_path):
    run_suite(read_spec(str(spec), {}), tmp_path / "out", jobs=2, executor="dask")
    assert read_lines(tmp_path / "out") == read_lines(whole)


@pytest.mark.parametrize("jobs", [1, 2])
def test_killed_twice_at_a_random_moment_and_continued_it_ends_with_the_same_lines(whole, spec, tmp_path, jobs):
    out, groups = tmp_path / "out", []

    def progress():
        return {path: path.stat().st_mtime_ns for path in in_training(out)} | finished(out)

    try:
        for _ in range(2):
            before = progress()
            process = start(spec, out, "--jobs", jobs)
            groups.append(process.pid)
            wait_for(lambda before=before: progress() != before, process)
            delay = random.uniform(0, 0.4)
            time.sleep(delay)
            assert process.poll() is None, f"ended before it could be killed, {delay} s later"
            process.kill()  # of its workers none: they live on, and may still write
            process.wait()
        before = finished(out)
        run_suite(read_spec(str(spec), {}), out, jobs)
    finally:
        for group in groups:
            try:
                os.killpg(group, signal.SIGKILL)
            except ProcessLookupError:
                continue
    assert before.items() <= finished(out).items()
    assert read_lines(out) == read_lines(whole)


def training(root, out):
    """The arguments of ``dsnet`` for one training."""
    return [
        *("train", "--corpus", "synthetic", "--root", str(root), "--method", "dsnet", "--folds", "1", "--epochs", "4"),
        *("--max-frames", "48", "--device", "cpu", "--out", str(out)),
    ]


def test_a_training_killed_twice_ends_with_the_numbers_of_an_undisturbed_one(dsnet, tmp_path):
    root = tmp_path / "corpus"  # one training speaker of 99 utterances: four batches an epoch
    generate(root, SyntheticSettings(speakers=3, utterances=100, correlation=0.0, seconds=0.5))
    assert dsnet(*training(root, tmp_path / "whole"))[0] == 0
    state = tmp_path / "killed/synthetic/cnn/dsnet/seed-0/fold-01/state.safetensors"
    seen = None
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks", *training(root, tmp_path / "killed")],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not state.exists() or state.stat().st_mtime_ns == seen:  # until one more epoch is on disk
            assert process.poll() is None, "ended before it could be killed"
            time.sleep(0.005)
        time.sleep(0.1)  # in the middle of the next epoch
        process.send_signal(signal.SIGKILL)
        process.wait()
        seen = state.stat().st_mtime_ns
        assert not (state.parent / "result.json").exists()
    assert dsnet(*training(root, tmp_path / "killed"))[0] == 0
    whole, killed = (
        json.loads((tmp_path / name / "synthetic/cnn/dsnet/seed-0/fold-01/result.json").read_text())
        for name in ("whole", "killed")
    )
    for part in ("tests", "probes"):
        assert killed[part] == whole[part]
    for part in ("best_epoch", "curves"):
        assert killed["story"][part] == whole["story"][part]
    assert read_lines(tmp_path / "killed") == read_lines(tmp_path / "whole")
    for file in ("best.safetensors", "predictions.json", "spaces.safetensors"):
        contents = [
            (tmp_path / name / "synthetic/cnn/dsnet/seed-0/fold-01" / file).read_bytes() for name in ("whole", "killed")
        ]
        assert contents[0] == contents[1]


def test_train_and_benchmark_write_the_same_folders_and_lines_whatever_the_jobs(dsnet, root, tmp_path):
    options = ("--method", "baseline,dsnet", "--folds", "0,1", "--epochs", "2", "--max-frames", "32", "--device", "cpu")
    train = ("train", "--corpus", "synthetic", "--root", root, *options)
    assert dsnet(*train, "--jobs", "2", "--out", tmp_path / "train")[0] == 0
    corpora = {"synthetic": {"root": str(root)}}
    spec = write_spec(tmp_path, root, corpora=corpora, settings={"epochs": 2, "max_frames": 32})
    assert dsnet("benchmark", spec, "--device", "cpu", "--out", tmp_path / "benchmark")[0] == 0
    assert read_lines(tmp_path / "train") == read_lines(tmp_path / "benchmark")
    names = [
        {path.relative_to(tmp_path / out).as_posix() for path in (tmp_path / out).rglob("*")}
        for out in ("train", "benchmark")
    ]
    assert names[0] == names[1] >= {f"synthetic/{cell.partition('/')[2]}/result.json" for cell in CELLS}


def test_a_second_run_in_the_same_folder_is_refused_and_disturbs_nothing(dsnet, whole, spec, tmp_path):
    out = tmp_path / "out"
    first = start(spec, out)
    try:
        wait_for(lambda: finished(out) and in_training(out), first)
        status, _, errors = dsnet("benchmark", spec, "--out", out)
        wait_for(lambda: len(finished(out)) > 1, first)  # the first goes on
    finally:
        first.kill()
        first.communicate()
    assert status == 2
    assert errors == [f"dsnet: another run is writing to {out}: wait for it, or choose another --out"]
    assert read_lines(out)[0] == read_lines(whole)[0]


def test_a_disk_that_is_full_in_the_middle_of_a_file_leaves_no_half_of_one(dsnet, whole, spec, tmp_path):
    out = shutil.copytree(whole, tmp_path / "out")
    shutil.rmtree(out / CELLS[2])
    room = (whole / CELLS[2] / "best.safetensors").stat().st_size // 2
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        status, _, errors = dsnet("benchmark", spec, "--out", out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert status == 2
    (line,) = errors
    assert line.startswith(f"dsnet: [Errno 27] File too large: '{out / CELLS[2]}/")
    assert line.endswith("'; what is finished is on disk, and the same command continues")
    assert [path.name for path in (out / CELLS[2]).iterdir()] == ["lock"]
    assert read_lines(out) == [line for line in read_lines(whole) if line["folder"] != CELLS[2]]
    run_suite(read_spec(str(spec), {}), out)
    assert read_lines(out) == read_lines(whole)
