import json
import shutil
import threading
import time
from collections import Counter
from importlib.metadata import version
from itertools import count
from types import SimpleNamespace

import pytest
import torch
from filelock import FileLock

from benchmarks.corpora import EMOTIONS, load_corpus
from benchmarks.corpora.synthetic import SyntheticSettings, generate
from benchmarks.data.batches import Side
from benchmarks.data.features import extract
from benchmarks.data.speech_data import SpeechData
from benchmarks.errors import RunError
from benchmarks.grid import run as suite
from benchmarks.grid.cell import fit, run_cell
from benchmarks.grid.plan import plan
from benchmarks.grid.run import Job, run_suite
from benchmarks.grid.spec import read_spec
from benchmarks.training.checkpoint import load_model
from benchmarks.training.device import make_accelerator
from benchmarks.training.inference import predict
from tests.benchmarks.grid.small_grid import CELLS, finished, read_lines, write_spec


@pytest.fixture
def out(whole, tmp_path):
    """A copy of the finished run."""
    return shutil.copytree(whole, tmp_path / "out")


@pytest.fixture
def trained(monkeypatch):
    """The cells that are trained, as corpus, method and fold."""
    calls = []

    def counted(method, data, fold, cell, *rest):
        calls.append((cell["corpus"]["name"], cell["method"], cell["fold"]))
        return fit(method, data, fold, cell, *rest)

    monkeypatch.setattr("benchmarks.grid.cell.fit", counted)
    return calls


def compute(spec, out, overrides=None, **options):
    return run_suite(read_spec(str(spec), {}, overrides), out, say=lambda _: None, **options)


def test_each_finished_cell_is_a_line_with_settings_versions_hardware_and_revision(whole):
    lines = [json.loads(line) for line in (whole / "cells.jsonl").read_text().splitlines()]
    assert [line["folder"] for line in lines] == CELLS
    for line in lines:
        assert line["cell"]["settings"]["epochs"] == 4
        assert line["environment"].keys() >= {"dsnet_plugin", "python", "torch", "device", "threads", "revision"}
        assert line["environment"]["torch"] == version("torch")
        assert line["tests"]["small"]["speakers"].keys() == {line["test_speaker"]}


def test_the_predictions_of_a_cell_are_beside_its_model(whole, root):
    for line in read_lines(whole):
        rows = json.loads((whole / line["folder"] / "predictions.json").read_text())["small"]
        tested = [u.key for u in load_corpus("synthetic", root).utterances if u.speaker == line["test_speaker"]]
        assert sorted(row["key"] for row in rows) == tested
        assert (whole / line["folder"] / "best.safetensors").is_file()
        assert not (whole / line["folder"] / "state.safetensors").exists()


def test_started_again_it_trains_nothing_and_leaves_the_lines_as_they_are(out, spec, trained):
    before = (out / "cells.jsonl").read_bytes()
    assert len(compute(spec, out).lines) == 4
    assert trained == []
    assert (out / "cells.jsonl").read_bytes() == before


def test_only_the_cells_that_are_missing_are_trained(out, whole, spec, trained):
    for name in ("result.json", "predictions.json"):
        (out / CELLS[2] / name).unlink()
    (out / "cells.jsonl").unlink()
    compute(spec, out)
    assert trained == [("small", "baseline", 1)]
    assert read_lines(out) == read_lines(whole)


def test_a_time_budget_stops_between_cells_and_the_same_command_continues(whole, root, tmp_path, monkeypatch):
    out, spec = tmp_path / "out", write_spec(tmp_path, root, methods=["baseline"])
    # A clock by which each cell takes a second, and nothing else any time.
    monkeypatch.setattr(suite, "time", SimpleNamespace(monotonic=lambda: float(len(finished(out)))))
    outcome = compute(spec, out, time_budget=1)
    assert (len(outcome.lines), outcome.left) == (1, 1)
    assert read_lines(out) == read_lines(whole)[:1]
    assert not (out / CELLS[2]).exists()
    assert compute(spec, out, time_budget=1).left == 0
    assert read_lines(out) == read_lines(whole)[::2]


def test_cells_that_are_no_longer_asked_for_keep_their_lines(out, whole, spec, trained):
    compute(spec, out, {"folds": "1"})
    assert trained == []
    assert [line["folder"] for line in read_lines(out)] == [*CELLS[2:], *CELLS[:2]]
    assert sorted(map(str, read_lines(out))) == sorted(map(str, read_lines(whole)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"epochs": 5, "max_frames": 32, "batch_size": 8}}, "epochs 4 there and 5 asked for"),
        ({"methods": [{"label": "dsnet", "method": "dsnet", "config": {"temperature": 0.1}}]}, "temperature 1.0 there"),
        ({"methods": [{"label": "dsnet", "method": "baseline"}]}, "method 'dsnet' there and 'baseline' asked for"),
        ({"corpora": {"small": {"corpus": "synthetic", "options": {"speakers": 3}}}}, "utterances 36 there and 144"),
    ],
)
def test_a_folder_that_holds_something_else_is_refused_and_stays(out, root, tmp_path, changes, message):
    before = finished(out)
    with pytest.raises(RunError, match=message):
        compute(write_spec(tmp_path, root, **changes), out)
    assert finished(out) == before
    assert len(read_lines(out)) == 4


def test_settings_that_an_earlier_run_had_are_not_taken_for_the_defaults(root, tmp_path):
    cold = {"label": "mine", "method": "dsnet", "config": {"temperature": 0.1}}
    one = {"folds": [0], "settings": {"epochs": 1, "max_frames": 32, "batch_size": 8}}
    compute(write_spec(tmp_path, root, methods=[cold], **one), tmp_path / "out")
    with pytest.raises(RunError, match=r"temperature 0\.1 there and 1\.0 asked for"):
        compute(write_spec(tmp_path, root, methods=[{**cold, "config": {}}], **one), tmp_path / "out")


def without_neutral(root, folder, speaker):
    """A manifest of a corpus in which one speaker has no neutral speech."""
    utterances = load_corpus("synthetic", root).utterances
    kept = [u for u in utterances if (u.speaker, u.label) != (speaker, "neutral")]
    rows = [f"{u.path},{u.speaker},{u.label}" for u in kept]
    (folder / "some.csv").write_text("\n".join(["path,speaker,label", *rows]))
    return {"small": {"corpus": "manifest", "root": str(folder / "some.csv")}}


def test_a_cell_that_is_impossible_by_itself_leaves_the_others_alone(root, tmp_path):
    spec = write_spec(tmp_path, root, corpora=without_neutral(root, tmp_path, "spk02"))
    outcome = compute(spec, tmp_path / "out", {"epochs": 1})
    assert outcome.failed.keys() == {CELLS[1]}  # the only training speaker of fold 0
    assert "no neutral utterance of spk02" in outcome.failed[CELLS[1]]
    assert [line["folder"] for line in read_lines(tmp_path / "out")] == [CELLS[0], *CELLS[2:]]


def test_a_cell_that_is_too_large_for_the_device_leaves_the_others_alone(spec, tmp_path, monkeypatch):
    def too_large(name, *rest):
        if name == "dsnet":
            raise torch.OutOfMemoryError("tried to allocate 9 GiB")
        return run_cell(name, *rest)

    monkeypatch.setattr(suite, "run_cell", too_large)
    outcome = compute(spec, tmp_path / "out", {"epochs": 1})
    assert len(outcome.lines) == 2
    assert outcome.failed == dict.fromkeys((CELLS[1], CELLS[3]), "out of memory on the device: tried to allocate 9 GiB")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    other = tmp_path_factory.mktemp("corpora") / "other"
    generate(other, SyntheticSettings(speakers=3, utterances=8, correlation=0.0, seconds=0.5, seed=1))
    return other


def test_across_corpora_every_model_is_tested_on_all_of_the_others_and_later_without_training(
    root, other, tmp_path, trained
):
    roots = {"small": root, "more": other}
    corpora = {name: {"corpus": "synthetic", "root": str(folder)} for name, folder in roots.items()}
    spec = write_spec(tmp_path, root, corpora=corpora, methods=["dsnet"], folds=[0])
    out = tmp_path / "out"
    alone = {line["cell"]["corpus"]["name"]: line for line in compute(spec, out, {"epochs": 2}).lines}
    assert trained == [("small", "dsnet", 0), ("more", "dsnet", 0)]
    crossed = {line["cell"]["corpus"]["name"]: line for line in compute(spec, out, {"epochs": 2, "cross": True}).lines}
    assert len(trained) == 2
    for name, target in (("small", "more"), ("more", "small")):
        tests = crossed[name].pop("tests")
        assert tests[name] == alone[name].pop("tests")[name]
        assert crossed[name] == alone[name]
        folder = out / crossed[name]["folder"]
        rows = json.loads((folder / "predictions.json").read_text())[target]
        everything = load_corpus("synthetic", roots[target]).utterances
        assert [row["key"] for row in rows] == [u.key for u in everything]
        assert rows == predicted(folder, everything)
        assert {s: len(own["truth"]) for s, own in tests[target]["speakers"].items()} == Counter(
            u.speaker for u in everything
        )


def predicted(folder, utterances):
    """What the model in the folder says of utterances, in the form of ``predictions.json``."""
    model, _ = load_model(folder)
    features, _ = extract(utterances, 32)
    data = SpeechData(utterances, features, 32, torch.device("cpu"))
    found = predict(model, Side(data, range(len(utterances)), model), 8, make_accelerator("cpu", "fp32")).tolist()
    return [
        {"key": u.key, "truth": EMOTIONS.index(u.label), "prediction": p.index(max(p)), "probabilities": p}
        for u, p in zip(utterances, found, strict=True)
    ]


def jobs_of(spec, out):
    return Job(out, "cpu", 1, False), plan(read_spec(str(spec), {}), str)


def test_a_worker_waits_for_one_that_is_still_in_the_cell_s_folder(whole, spec, tmp_path):
    job, cells = jobs_of(spec, tmp_path / "out")
    folder = job.out / cells[0].folder
    folder.mkdir(parents=True)
    found = []
    worker = threading.Thread(target=lambda: found.append(suite._work(job, cells[0])))
    with FileLock(folder / "lock"):
        worker.start()
        time.sleep(1)
        assert {path.name for path in folder.iterdir()} == {"lock"}
    worker.join()
    assert found[0]["curves"] == read_lines(whole)[0]["curves"]


def test_two_threads_of_one_process_do_not_disturb_each_other(whole, spec, tmp_path):
    job, cells = jobs_of(spec, tmp_path / "out")
    found = {}
    threads = [
        threading.Thread(target=lambda cell=c: found.update({cell.folder: suite._work(job, cell)})) for c in cells[:2]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for line in read_lines(whole)[:2]:
        assert found[line["folder"]]["curves"] == line["curves"]
        assert found[line["folder"]]["tests"] == line["tests"]


class FullDisk:
    """Stands in for ``os.fsync``: after so many files there is no room."""

    def __init__(self, files):
        self.left = files

    def __call__(self, _):
        self.left -= 1
        if self.left < 0:
            raise OSError(28, "No space left on device")


def test_a_disk_that_is_full_at_any_write_loses_nothing_that_is_finished(whole, root, tmp_path, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(whole / CELLS[0], out / CELLS[0])
    spec = write_spec(tmp_path, root, methods=["baseline"])
    for files in count():  # each run gets a little further than the one before
        monkeypatch.setattr("dsnet_plugin.serialization.os.fsync", FullDisk(files))
        try:
            compute(spec, out)
            break
        except OSError:
            assert not list(out.rglob(".*"))  # no half of a file
            assert finished(out).keys() >= {CELLS[0]}
            assert not files or read_lines(out)[0] == read_lines(whole)[0]
    assert files > 5
    assert read_lines(out) == [read_lines(whole)[0], read_lines(whole)[2]]
