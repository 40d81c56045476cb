"""A grid of four small cells: its specification, its lines, and a process that computes it."""

import json
import os
import subprocess
import sys

import yaml

CELLS = [f"small/cnn/{method}/seed-0/fold-{fold:02d}" for fold in (0, 1) for method in ("baseline", "dsnet")]
"""Their folders, in the order of the lines."""


def write_spec(folder, root, **changes):
    document = {
        "corpora": {"small": {"corpus": "synthetic", "root": str(root)}},
        "methods": ["baseline", "dsnet"],
        "folds": [0, 1],
        "settings": {"epochs": 4, "max_frames": 32, "batch_size": 8},
    }
    path = folder / "grid.yaml"
    path.write_text(yaml.safe_dump({**document, **changes}, sort_keys=False))
    return path


def read_lines(out):
    """The lines of a run but for what no repetition can give again: the time that it took, and a commit in between."""
    lines = [json.loads(line) for line in (out / "cells.jsonl").read_text().splitlines()]
    for line in lines:
        del line["story"]["seconds"], line["environment"]["revision"]
    return lines


def finished(out):
    """When each finished cell was written, by its folder."""
    return {path.parent.relative_to(out).as_posix(): path.stat().st_mtime_ns for path in out.rglob("result.json")}


def start(spec, out, *options, **popen):
    """The grid in a process of its own, in a group of its own, so that what it leaves behind can be ended."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "benchmark", str(spec), "--out", str(out), *map(str, options)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **popen,
    )
