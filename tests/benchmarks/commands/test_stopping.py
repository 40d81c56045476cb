"""Real processes, which signals end at whatever moment they come: one line, the status of a shell, nobody left behind."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks.grid.small_grid import start, write_spec

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

LINE = "dsnet: stopped by {}; what is finished is on disk, and the same command goes on"


@pytest.fixture(autouse=True)
def not_ignored():
    """Lets SIGINT through to what a test starts: in the background of a shell it is ignored, and inherited so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def catches(process, number):
    """Whether a process has a handler for a signal by now."""
    caught = next(line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "SigCgt" in line)
    return int(caught.split()[1], 16) >> (number - 1) & 1


def wait_for(what, process):
    while not what():
        assert process.poll() is None, f"ended before: {process.stderr.read()}"
        time.sleep(0.01)


def said(errors):
    """The lines of standard error that are no progress bars."""
    lines = [line.strip() for line in errors.replace("\r", "\n").replace("\x1b[A", "").splitlines()]
    return [line for line in lines if line and "it/s" not in line and "%|" not in line]


def members(group):
    """The processes of a group that are not dead."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, own, *_ = entry.read_text().rpartition(")")[2].split()
        except OSError:  # has ended meanwhile
            continue
        if int(own) == group and state != "Z":
            found.append(int(entry.parent.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
def test_in_the_first_seconds_a_signal_is_one_line_and_the_status_of_a_shell(number, share, tmp_path):
    command = [sys.executable, "-m", "benchmarks", "train", "--epochs", "1000", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: catches(process, signal.SIGTERM), process)
    time.sleep(share * random.uniform(0.5, 3))  # anywhere in the imports, the features, the first epochs
    process.send_signal(number)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 128 + number
    assert said(errors) == [LINE.format(number.name)]


LOST = """
import os, signal, sys, time
from benchmarks.commands.stopping import SignalWatch, Stopped

class Handle:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)  # here the exception is raised, and lost

watch = SignalWatch()
del_me = Handle()
try:
    try:
        del del_me
        print("lost", flush=True)
        time.sleep(60)
    finally:
        time.sleep(2.5)
        print("cleaned up", flush=True)
except Stopped:
    watch.rest()
    time.sleep(1.5)
    print("ended", flush=True)
"""


def test_a_signal_that_gets_lost_in_a_destructor_comes_again_and_leaves_the_cleaning_up_alone():
    done = subprocess.run([sys.executable, "-c", LOST], check=True, capture_output=True, text=True, timeout=30)
    assert "Exception ignored in" in done.stderr
    assert done.stdout.split("\n") == ["lost", "cleaned up", "ended", ""]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_amid_a_grid_the_workers_end_with_it_and_say_nothing(number, small_root, tmp_path):
    spec = write_spec(tmp_path, small_root, settings={"epochs": 1000, "max_frames": 32, "batch_size": 8})
    out = tmp_path / "out"
    process = start(spec, out, "--jobs", 2)
    try:
        wait_for(lambda: len(list(out.rglob("state.safetensors"))) == 2, process)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal sends it, to the workers, too
        else:
            process.send_signal(number)
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 128 + number
        assert said(errors) == [LINE.format(number.name)]
        while members(process.pid):  # the whole test has a limit
            time.sleep(0.1)
    finally:
        for pid in members(process.pid):
            os.kill(pid, signal.SIGKILL)
