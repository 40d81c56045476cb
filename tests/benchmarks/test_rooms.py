"""Imports run down: from ``benchmarks`` to ``backbones`` to ``dsnet_plugin``, and within ``benchmarks`` from room to room."""

import ast
import re
from pathlib import Path

import pytest

import benchmarks

PROJECT = Path(__file__).parents[2]
BENCHMARKS = PROJECT / "benchmarks"
ROOMS = re.findall(r"^- ``(\w+)``:", benchmarks.__doc__, re.MULTILINE)  # from the top to the bottom
BELOW_ALL = "errors"


def imported(source):
    """The full names of all that a source imports, inside functions, too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def upward(room, source):
    """What a source in a room imports from anywhere but its own room and those below it."""
    allowed = {*ROOMS[ROOMS.index(room) :], BELOW_ALL} if room in ROOMS else set()
    names = [name.split(".") for name in imported(source)]
    return [".".join(name) for name in names if name[0] == "benchmarks" and not {*name[1:2]} & allowed]


def sources(package):
    found = sorted((PROJECT / package).rglob("*.py"))
    assert found
    return found


def test_every_room_has_its_place_in_the_order():
    assert {path.parent.name for path in BENCHMARKS.glob("*/__init__.py")} == set(ROOMS)
    assert len(ROOMS) == len(set(ROOMS))
    assert len(list(BENCHMARKS.glob("*.py"))) <= 4


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_from_itself_and_from_the_rooms_below_it(room):
    found = {path: upward(room, path.read_text(encoding="utf-8")) for path in sources(f"benchmarks/{room}")}
    assert {path: names for path, names in found.items() if names} == {}


def test_what_lies_below_all_rooms_imports_none():
    assert upward(BELOW_ALL, (BENCHMARKS / f"{BELOW_ALL}.py").read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("package", "above"),
    [("dsnet_plugin", {"backbones", "benchmarks", "tests"}), ("backbones", {"benchmarks", "tests"})],
)
def test_a_package_imports_none_above_it(package, above):
    for path in sources(package):
        assert not above & {name.partition(".")[0] for name in imported(path.read_text(encoding="utf-8"))}, path


@pytest.mark.parametrize(
    "line",
    [
        "from benchmarks.grid.run import run_suite",
        "from benchmarks.grid import CellRecord",
        "from benchmarks import grid",
        "import benchmarks.report.cells as cells",
        "import numpy, benchmarks.commands.app",
        "def late():\n    from benchmarks.training import load_model",
        "try:\n    import torch\nexcept ImportError:\n    from benchmarks import deploy",
        "from benchmarks.__main__ import main",
        "import benchmarks",
    ],
)
def test_an_import_that_runs_up_is_seen(line):
    assert len(upward("scores", line)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "from benchmarks.corpora import EMOTIONS",
        "from benchmarks.scores.uar import uar",
        "from benchmarks.errors import RunError",
        "def late():\n    from benchmarks.data import features",
        "from numpy import grid",
    ],
)
def test_an_import_that_runs_down_is_let_pass(line):
    assert upward("scores", line) == []
