import json
import shutil
import threading
import time
from collections import Counter
from dataclasses import replace
from importlib.metadata import version
from itertools import count
from types import SimpleNamespace

import pytest
import torch
from filelock import FileLock

from benchmarks.corpora import EMOTIONS, load_corpus
from benchmarks.corpora.synthetic import SyntheticSettings, generate
from benchmarks.data.batches import FoldSide
from benchmarks.data.features import extract
from benchmarks.data.speech_data import SpeechData
from benchmarks.errors import RunError
from benchmarks.grid import run as suite
from benchmarks.grid.cell import fit, run_cell
from benchmarks.grid.plan import plan
from benchmarks.grid.run import Job, run_suite
from benchmarks.grid.spec import read_spec
from benchmarks.output.typed_json import to_json
from benchmarks.training.checkpoint import load_model
from benchmarks.training.device import make_accelerator, put_on_device
from benchmarks.training.inference import predict
from dsnet_plugin import CheckpointError, NeutralReferenceError
from tests.benchmarks.grid.small_grid import CELLS, finished, read_lines, write_spec


@pytest.fixture
def out(whole, tmp_path):
    """A copy of the finished run."""
    return shutil.copytree(whole, tmp_path / "out")


@pytest.fixture
def trained(monkeypatch):
    """The cells that are trained, as corpus, method and fold."""
    calls = []

    def counted(method, data, fold, identity, *rest):
        calls.append((identity.corpus.name, identity.method, identity.fold))
        return fit(method, data, fold, identity, *rest)

    monkeypatch.setattr("benchmarks.grid.cell.fit", counted)
    return calls


def compute(spec, out, overrides=None, **options):
    return run_suite(read_spec(str(spec), {}, overrides), out, say=lambda _: None, **options)


def test_each_finished_cell_is_a_line_with_settings_versions_hardware_and_revision(whole):
    lines = [json.loads(line) for line in (whole / "cells.jsonl").read_text().splitlines()]
    assert [line["folder"] for line in lines] == CELLS
    for line in lines:
        assert line["identity"]["settings"]["epochs"] == 4
        assert line["version"] == 3
        assert line["environment"].keys() >= {"versions", "device", "threads", "revision"}
        assert line["environment"]["versions"].keys() >= {"dsnet_plugin", "python", "torch"}
        assert line["environment"]["versions"]["torch"] == version("torch")
        assert line["tests"]["small"]["speakers"].keys() == {line["story"]["test_speaker"]}


def test_the_predictions_of_a_cell_are_beside_its_model(whole, root):
    for line in read_lines(whole):
        rows = json.loads((whole / line["folder"] / "predictions.json").read_text())["small"]
        tested = [
            u.key for u in load_corpus("synthetic", root).utterances if u.speaker == line["story"]["test_speaker"]
        ]
        assert sorted(row["key"] for row in rows) == tested
        assert (whole / line["folder"] / "best.safetensors").is_file()
        assert not (whole / line["folder"] / "state.safetensors").exists()


def test_started_again_it_trains_nothing_and_leaves_the_lines_as_they_are(out, spec, trained):
    before = (out / "cells.jsonl").read_bytes()
    assert len(compute(spec, out).records) == 4
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
    assert (len(outcome.records), outcome.left) == (1, 1)
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


def without(root, folder, leave_out):
    """A manifest of a corpus without some of its utterances."""
    kept = [u for u in load_corpus("synthetic", root).utterances if not leave_out(u)]
    rows = [f"{u.path},{u.speaker},{u.label}" for u in kept]
    (folder / "some.csv").write_text("\n".join(["path,speaker,label", *rows]))
    return {"small": {"corpus": "manifest", "root": str(folder / "some.csv")}}


def test_a_cell_that_is_impossible_by_itself_leaves_the_others_alone(root, tmp_path):
    corpora = without(root, tmp_path, lambda u: u.speaker == "spk02" and not u.key.endswith("neutral_00"))
    spec = write_spec(tmp_path, root, corpora=corpora)
    outcome = compute(spec, tmp_path / "out", {"epochs": 1})
    assert outcome.failed.keys() == {CELLS[0], CELLS[1]}  # spk02 is the only training speaker of fold 0
    assert "1 utterances to train on; expected at least 2" in outcome.failed[CELLS[0]]
    assert [line["folder"] for line in read_lines(tmp_path / "out")] == CELLS[2:]


def test_training_speakers_without_neutral_speech_are_refused_in_every_fold_before_anything_is_trained(
    root, tmp_path, trained
):
    spec = write_spec(
        tmp_path, root, corpora=without(root, tmp_path, lambda u: (u.speaker, u.label) == ("spk00", "neutral"))
    )
    with pytest.raises(NeutralReferenceError, match=f"{CELLS[3]}: no neutral utterance of spk00") as caught:
        compute(spec, tmp_path / "out", {"epochs": 1})  # fold 0 could be trained, and fold 1 by the baseline
    assert trained == []
    assert not (tmp_path / "out/cells.jsonl").exists()
    assert "needs neutral speech of at least one speaker" in str(caught.value)  # spk00 trains alone
    assert "\n" not in str(caught.value)


def test_the_remedy_for_missing_neutral_speech_is_an_option_that_exists(small_root, tmp_path):
    corpora = without(small_root, tmp_path, lambda u: (u.speaker, u.label) == ("spk03", "neutral"))
    spec = write_spec(tmp_path, small_root, corpora=corpora, folds="all")
    with pytest.raises(
        NeutralReferenceError, match=r"fold-00: no neutral utterance of spk03 .*; 1 further cells"
    ) as caught:
        compute(spec, tmp_path / "out", {"epochs": 1})
    assert "--missing-neutral drop" in str(caught.value)
    assert "missing_neutral" in str(caught.value)
    outcome = compute(spec, tmp_path / "out", {"epochs": 1, "missing_neutral": "mask", "folds": "0"})
    assert (len(outcome.records), outcome.failed) == (2, {})


def test_a_fold_that_tests_or_validates_on_one_class_is_named_with_the_remedy(root, tmp_path):
    said = []
    corpora = without(root, tmp_path, lambda u: u.speaker == "spk01" and u.label != "sad")
    spec = write_spec(tmp_path, root, corpora=corpora, methods=["baseline"], settings={"epochs": 1, "max_frames": 32})
    run_suite(read_spec(str(spec), {}), tmp_path / "out", say=said.append)
    (warning,) = [line for line in said if line.startswith("warning")]
    assert (
        "small: fold 0: the validation side (spk01) is sad alone; fold 1: the test side (spk01) is sad alone" in warning
    )
    assert "--folds" in warning
    again = []
    run_suite(read_spec(str(spec), {}), tmp_path / "out", say=again.append)
    assert not [line for line in again if line.startswith("warning")]  # nothing is trained any more


@pytest.mark.parametrize("lost", ["folder", "best.safetensors"])
def test_a_cell_that_lost_its_folder_or_its_model_is_trained_again(out, whole, spec, trained, lost):
    shutil.rmtree(out / CELLS[2]) if lost == "folder" else (out / CELLS[2] / lost).unlink()
    outcome = compute(spec, out)
    assert (outcome.failed, trained) == ({}, [("small", "baseline", 1)])
    assert read_lines(out) == read_lines(whole)
    assert (out / CELLS[2] / "best.safetensors").is_file()


@pytest.mark.parametrize("change", [{"version": 1}, {"version": None}, {"story": None}, {"mood": 1}])
def test_a_result_of_another_release_or_form_is_one_error_that_names_the_file(out, spec, change):
    path = out / CELLS[1] / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=rf"^{path}: ") as caught:
        compute(spec, out)
    assert "delete it to compute the cell again" in str(caught.value)
    path.unlink()
    assert len(compute(spec, out).records) == 4


def test_a_cell_that_is_too_large_for_the_device_leaves_the_others_alone(spec, tmp_path, monkeypatch):
    def too_large(cell, context):
        if cell.method.method == "dsnet":
            raise torch.OutOfMemoryError("tried to allocate 9 GiB")
        return run_cell(cell, context)

    monkeypatch.setattr(suite, "run_cell", too_large)
    outcome = compute(spec, tmp_path / "out", {"epochs": 1})
    assert len(outcome.records) == 2
    assert outcome.failed == dict.fromkeys((CELLS[1], CELLS[3]), "out of memory on the device: tried to allocate 9 GiB")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    other = tmp_path_factory.mktemp("corpora") / "other"
    generate(other, SyntheticSettings(speakers=3, utterances=8, correlation=0.0, seconds=0.5, seed=1))
    return other


def test_a_model_is_tested_in_the_layout_in_which_it_was_trained(root, tmp_path, monkeypatch):
    layouts = []

    def looked_at(method, *rest):
        layouts.append(method.encoder.blocks[0][0].weight.is_contiguous(memory_format=torch.channels_last))
        return predict(method, *rest)

    monkeypatch.setattr("benchmarks.grid.cell.predict", looked_at)
    settings = {"epochs": 1, "max_frames": 32, "batch_size": 8}
    compute(write_spec(tmp_path, root, methods=["baseline"], folds=[0], settings=settings), tmp_path / "out")
    assert layouts == [True]


def test_across_corpora_every_model_is_tested_on_all_of_the_others_and_later_without_training(
    root, other, tmp_path, trained
):
    roots = {"small": root, "more": other}
    corpora = {name: {"corpus": "synthetic", "root": str(folder)} for name, folder in roots.items()}
    spec = write_spec(tmp_path, root, corpora=corpora, methods=["dsnet"], folds=[0])
    out = tmp_path / "out"
    alone = {record.identity.corpus.name: record for record in compute(spec, out, {"epochs": 2}).records}
    assert trained == [("small", "dsnet", 0), ("more", "dsnet", 0)]
    crossed = {r.identity.corpus.name: r for r in compute(spec, out, {"epochs": 2, "cross": True}).records}
    assert len(trained) == 2
    for name, target in (("small", "more"), ("more", "small")):
        tests = crossed[name].tests
        assert tests[name] == alone[name].tests[name]
        assert replace(crossed[name], tests=alone[name].tests) == alone[name]
        folder = out / crossed[name].folder
        rows = json.loads((folder / "predictions.json").read_text())[target]
        everything = load_corpus("synthetic", roots[target]).utterances
        assert [row["key"] for row in rows] == [u.key for u in everything]
        assert rows == predicted(folder, everything)
        assert {s: len(said.truth) for s, said in tests[target].speakers.items()} == Counter(
            u.speaker for u in everything
        )


def predicted(folder, utterances):
    """What the model in the folder says of utterances, in the form of ``predictions.json``."""
    model = put_on_device(load_model(folder)[0], torch.device("cpu"))
    features, _ = extract(utterances, 32)
    data = SpeechData(utterances, features, 32, torch.device("cpu"))
    found = predict(model, FoldSide(data, range(len(utterances)), model), 8, make_accelerator("cpu", "fp32")).tolist()
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
    assert json.loads(json.dumps(to_json(found[0])))["story"]["curves"] == read_lines(whole)[0]["story"]["curves"]


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
        record = json.loads(json.dumps(to_json(found[line["folder"]])))
        assert record["story"]["curves"] == line["story"]["curves"]
        assert record["tests"] == line["tests"]


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
