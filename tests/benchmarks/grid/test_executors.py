import os
import sys
from functools import partial
from itertools import count

import pytest

from benchmarks.errors import LostWorkerError, RunError
from benchmarks.grid.executors import EXECUTORS, check_executor, compute
from tests.benchmarks.grid import work


def test_every_cell_comes_once_with_its_result():
    assert sorted(compute(work.double, range(5), 1, "loky")) == [(i, 2 * i) for i in range(5)]


def test_after_a_no_cells_under_way_are_finished_and_no_other_is_begun(tmp_path):
    asked = count()
    found = dict(compute(partial(work.note, tmp_path), range(9), 2, "loky", lambda: next(asked) < 4))
    assert sorted(found) == [0, 1, 2]  # the first no is to the loop, of the five questions
    assert sorted(path.name for path in tmp_path.glob("begun-*")) == [f"begun-{i}" for i in sorted(found)]
    assert len(list(tmp_path.glob("ended-*"))) == len(found)


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_cell_that_kills_its_workers_is_named_and_the_others_come_all_the_same():
    said = []
    found = dict(compute(work.kill_at_2, range(6), 2, "loky", say=said.append))
    assert sorted(found) == [0, 1, 2, 3, 4, 5]
    assert isinstance(found[2], LostWorkerError)
    assert isinstance(found[3], RunError)
    assert all(isinstance(found[i], int) and found[i] != os.getpid() for i in (0, 1, 4, 5))
    assert said[0].startswith("a worker died")


@pytest.mark.parametrize("executor", ["loky", "ray"])
def test_what_a_cell_raises_arrives_as_what_it_is(executor):
    check_executor(executor)
    with pytest.raises(OSError, match=r"^\[Errno 28\] No space left on device for 7$"):
        list(compute(work.full_disk, [7], 2, executor))


def test_an_unknown_executor_is_refused_with_those_there_are():
    with pytest.raises(RunError, match="--executor slurm: expected one of loky, ray, dask"):
        check_executor("slurm")


@pytest.mark.parametrize(("executor", "package"), [("ray", "ray"), ("dask", "distributed")])
def test_an_executor_that_is_not_installed_is_refused_with_its_extra(executor, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RunError, match=rf"needs {package}: pip install 'dsnet_plugin\[cluster\]'"):
        check_executor(executor)
    assert list(EXECUTORS) == ["loky", "ray", "dask"]
