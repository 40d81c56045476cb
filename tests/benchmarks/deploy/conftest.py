"""A running demo, and a browser that visits it."""

import contextlib
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tests.benchmarks.browser import chromium
from tests.benchmarks.deploy.demo_visit import PATIENCE

# Writes down every name that is looked up and every address that is connected to, then runs the command.
WATCHED = """
import socket, sys
def watch(event, values):
    if event in ("socket.connect", "socket.getaddrinfo"):
        address = values[1] if event == "socket.connect" else values[0]
        print(event, address[0] if isinstance(address, tuple) else address, file=sys.stderr)
sys.addaudithook(watch)
socket.getaddrinfo("127.0.0.1", 9)  # so that a test sees that something is written down
from benchmarks.__main__ import main
main()
"""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """Starts ``dsnet demo`` of a folder; gives the process, its address, and the folder of its temporary files."""
    with contextlib.ExitStack() as stack:

        def call(fold):
            temporary = tmp_path_factory.mktemp("temporary")
            errors = stack.enter_context((temporary.parent / f"{temporary.name}.log").open("w"))
            process = subprocess.Popen(
                [sys.executable, "-c", WATCHED, "demo", str(fold), "--port", "0"],
                env={**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            stack.callback(process.wait, PATIENCE)
            stack.callback(process.kill)
            line = process.stdout.readline()
            url = re.fullmatch(r"(http://127\.0\.0\.1:\d+) \(Ctrl-C ends it\)\n", line)
            assert url, (line, errors.name)
            return SimpleNamespace(process=process, url=url[1], temporary=temporary, log=errors.name)

        yield call


@pytest.fixture(scope="module")
def wav(small_root):
    return sorted(small_root.rglob("*.wav"))[0]


@pytest.fixture(scope="module")
def driver(wav, tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile"), wav) as driver:
        yield driver
