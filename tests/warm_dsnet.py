"""``dsnet`` in a process that has imported its packages already: seconds less for each of many commands."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

# The processes are forked from one that has imported these. None starts a thread, which no fork would carry over.
PRELOADED = ["benchmarks.commands.app", "benchmarks.grid.run", "benchmarks.training.fit", "torch._dynamo"]


class Done(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def dsnet(command, folder, home):
    """Runs a command as a shell in ``folder`` would, with ``home`` as the user's; the shell itself expands its words."""
    shell = subprocess.run(
        ["bash", "-c", f"dsnet() {{ printf '%s\\0' \"$@\"; }}; {command}"],
        check=True,
        cwd=folder,
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
    )
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    files = [Path(home) / name for name in ("stdout", "stderr")]
    words = shell.stdout.split("\0")[:-1]
    process = context.Process(target=_run, args=(words, folder, home, *files))
    process.start()
    process.join(timeout=300)
    process.kill()  # one that hangs ends with its test
    return Done(process.exitcode, *(file.read_text() for file in files))


def _run(words, folder, home, stdout, stderr):
    os.chdir(folder)
    os.environ["HOME"] = str(home)
    for number, file in ((1, stdout), (2, stderr)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = ["dsnet", *words]
    from benchmarks.__main__ import main

    main()
