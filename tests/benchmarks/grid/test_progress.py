import os
import re
import struct
import sys
import threading
from contextlib import contextmanager, redirect_stderr

import pytest

from benchmarks.grid.run import run_suite
from benchmarks.grid.spec import read_spec
from tests.benchmarks.grid.small_grid import CELLS, write_spec

pty = pytest.importorskip("pty")
COLUMNS = 110


class Screen:
    """As much of a terminal as bars need: text, carriage return, line feed, and the cursor one line up."""

    def __init__(self):
        self.rows, self.row, self.column = [""], 0, 0

    def feed(self, text):
        for token in re.findall(r"\x1b\[A|\r|\n|[^\x1b\r\n]+", text):
            if token == "\x1b[A":
                self.row -= 1
            elif token == "\r":
                self.column = 0
            elif token == "\n":
                self.row += 1
                self.rows += [""] * (self.row == len(self.rows))
            else:
                old = self.rows[self.row].ljust(self.column)
                self.rows[self.row] = old[: self.column] + token + old[self.column + len(token) :]
                self.column += len(token)

    def shown(self):
        return [row.rstrip() for row in self.rows]


@contextmanager
def terminal():
    """A terminal in the place of standard error; gives all that the screen showed, one picture a write."""
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    pictures, screen = [], Screen()

    def watch():
        while True:
            try:
                text = os.read(master, 65536).decode()
            except OSError:  # nobody writes any more
                return
            screen.feed(text)
            pictures.append(screen.shown())

    watching = threading.Thread(target=watch)
    watching.start()
    with os.fdopen(slave, "w", buffering=1) as stream, redirect_stderr(stream):
        yield pictures
    watching.join()
    os.close(master)


def test_one_bar_is_of_the_grid_and_one_below_it_of_the_cell_and_neither_writes_over_the_other(root, tmp_path):
    spec = write_spec(tmp_path, root, folds=[0])

    def say(text):
        print(text, file=sys.stderr)

    with terminal() as pictures:
        run_suite(read_spec(str(spec), {}), tmp_path / "out", say=say)
    said = [
        "small: 36 utterances (angry 9, happy 9, neutral 9, sad 9), 3 speakers",
        "2 cells: 0 finished, 2 to compute, 1 at a time",
    ]
    bars = [picture for picture in pictures if any(row.startswith("cells: ") for row in picture)]
    seen = set()
    for picture in bars:
        assert picture[:2] == said
        (place,) = (i for i, row in enumerate(picture) if row.startswith("cells: "))
        assert re.fullmatch(r"cells: +\d+%\|.*\| \d/2 \[.*", picture[place])
        lines = picture[2:place]  # on finished cells, above the bars
        assert all(line.startswith(f"{cell}: test spk00") for line, cell in zip(lines, CELLS, strict=False))
        below = [row for row in picture[place + 1 :] if row]
        seen |= {row.split(":")[0] for row in below}
        assert len(below) <= 1 or picture is bars[-1]
        assert all(len(row) <= COLUMNS for row in picture[place:])
    assert seen >= {"baseline fold 0", "dsnet fold 0"}
    last = pictures[-1]
    assert [line.split(": ")[0] for line in last[2:4]] == CELLS[:2]
    assert re.search(rf"2/2 .*{CELLS[1]} UAR \d", last[4])
    assert [row for row in last[5:] if row] == [f"2 of 2 cells in {tmp_path / 'out' / 'cells.jsonl'}"]
