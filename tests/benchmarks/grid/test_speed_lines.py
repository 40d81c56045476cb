import csv
import json
from dataclasses import replace

import pytest

from benchmarks.grid import speed_lines
from benchmarks.grid.run import run_suite
from benchmarks.grid.spec import read_spec
from benchmarks.report import write_report
from dsnet_plugin import CheckpointError
from tests.benchmarks.grid.small_grid import write_spec
from tests.benchmarks.report.records import read_speed

pytestmark = pytest.mark.usefixtures("narrow_cnn")

ENCODERS = ["cnn", "timm/mobilenetv3_small_050"]


@pytest.fixture(scope="module")
def measured(root, tmp_path_factory):
    """A run of which one grid of two is measured, and how often the clock was asked for what."""
    folder = tmp_path_factory.mktemp("measured")
    fast = {"folds": [0], "settings": {"epochs": 1, "max_frames": 32, "batch_size": 4}}
    grids = [{"encoders": ENCODERS, "speed": True}, {"methods": ["menan"]}]
    spec = write_spec(folder, root, grids=grids, **fast)
    outcome = run_suite(read_spec(str(spec), {}), folder / "out")
    assert (outcome.failed, outcome.left, outcome.unmeasured) == ({}, 0, 0)
    return spec, folder / "out"


def lines_of(out):
    return [json.loads(line) for line in (out / "speed.jsonl").read_text().splitlines()]


@pytest.fixture
def asked(monkeypatch):
    """What is measured, in the place of which an invented line comes."""
    calls = []

    def measure_speed(name, encoder, config, device, **budget):
        calls.append((name, encoder.title))
        return replace(read_speed(name, encoder.title, config=config, **budget), environment=speed_lines.describe(None))

    here = replace(read_speed("dsnet").environment, device="this one")
    monkeypatch.setattr(speed_lines, "measure_speed", measure_speed)
    monkeypatch.setattr(speed_lines, "describe", lambda _: here)
    return calls


def test_each_method_is_measured_on_each_encoder_of_the_grids_that_ask_for_it_with_their_budget(measured):
    _, out = measured
    lines = lines_of(out)
    assert {(line["method"], line["encoder"]) for line in lines} == {
        (m, e) for m in ("baseline", "dsnet") for e in ENCODERS
    }
    assert len(lines) == 4
    assert {(line["max_frames"], line["batch_size"], line["precision"]) for line in lines} == {(32, 4, "fp32")}
    assert all(line["training"]["samples_per_second"] > 0 < line["inference"]["peak_bytes"] for line in lines)


def test_the_report_shows_what_was_measured(measured, tmp_path):
    _, out = measured
    write_report([out], tmp_path, say=lambda _: None)
    rows = list(csv.DictReader((tmp_path / "tables" / "encoders-cost.csv").open()))
    shown = {(row["encoder"], row["method"]): float(row["inference, utterances/s"]) for row in rows}
    assert shown == {
        (line["encoder"], line["method"]): line["inference"]["samples_per_second"] for line in lines_of(out)
    }


def test_what_is_measured_on_this_device_is_not_measured_again(root, tmp_path, asked):
    spec = write_spec(tmp_path, root, speed=True, folds=[0], settings={"epochs": 1, "max_frames": 32, "batch_size": 4})
    grids = read_spec(str(spec), {})
    run_suite(grids, tmp_path / "out")
    assert asked == [("baseline", "cnn"), ("dsnet", "cnn")]
    run_suite(grids, tmp_path / "out")
    assert len(asked) == 2
    slower = [
        {**line, "environment": {**line["environment"], "device": "another"}} for line in lines_of(tmp_path / "out")
    ]
    (tmp_path / "out" / "speed.jsonl").write_text("".join(json.dumps(line) + "\n" for line in slower[:1]))
    run_suite(grids, tmp_path / "out")
    assert len(asked) == 4
    assert [line["environment"]["device"] for line in lines_of(tmp_path / "out")] == ["another", "this one", "this one"]


def test_a_budget_that_is_spent_leaves_measurements_for_the_same_command(root, tmp_path, asked):
    said = []
    spec = write_spec(tmp_path, root, speed=True)
    outcome = run_suite(read_spec(str(spec), {}), tmp_path / "out", time_budget=0, say=said.append)
    assert (outcome.unmeasured, asked) == (2, [])
    assert said[-1] == "speed: 2 measurements left, go on with the same command"


def test_a_damaged_file_of_measurements_is_named(root, tmp_path, asked):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "speed.jsonl").write_text("{")
    spec = write_spec(tmp_path, root, speed=True)
    with pytest.raises(CheckpointError, match=r"speed\.jsonl is damaged .*: delete it to compute it again"):
        run_suite(read_spec(str(spec), {}), tmp_path / "out", time_budget=0)
