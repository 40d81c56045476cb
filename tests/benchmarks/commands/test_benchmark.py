import re

import pytest
import yaml

from benchmarks.grid.run import Outcome
from benchmarks.presets import presets


@pytest.fixture
def written(tmp_path, small_root):
    """A specification of one baseline cell, with changes."""

    def write(**changes):
        document = {
            "corpora": {"small": {"corpus": "synthetic", "root": str(small_root)}},
            "methods": ["baseline"],
            "folds": [0],
            "settings": {"epochs": 1, "max_frames": 32, "batch_size": 8},
        }
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(document | changes))
        return path

    return write


@pytest.fixture
def asked(monkeypatch):
    """What the command asks of the suite, which computes nothing."""
    calls = []

    def run_suite(*arguments, **options):
        calls.append((arguments, options))
        return Outcome([], {}, 0)

    monkeypatch.setattr("benchmarks.grid.run.run_suite", run_suite)
    return calls


def test_it_says_what_it_does_and_the_same_command_finds_it_done(dsnet, written, small_root, tmp_path):
    command = ("benchmark", written(), "--out", tmp_path / "out", "--device", "cpu")
    status, out, errors = dsnet(*command)
    assert (status, errors) == (0, [])
    lines = out.splitlines()
    assert lines[:2] == [
        "small: 48 utterances (angry 12, happy 12, neutral 12, sad 12), 4 speakers",
        "1 cells: 0 finished, 1 to compute, 1 at a time",
    ]
    assert lines[2].startswith(
        "small/cnn/baseline/seed-0/fold-00: test spk00, validation spk01, 24 training utterances"
    )
    assert lines[3] == f"1 of 1 cells in {tmp_path / 'out' / 'cells.jsonl'}"
    assert lines[-2] == f"dsnet report {tmp_path / 'out'} makes tables, figures and a page of it"
    fold = tmp_path / "out/small/cnn/baseline/seed-0/fold-00"
    assert lines[-1] == f"dsnet predict {fold} FILE.wav hears a recording with one of the trained models"
    recording = next(small_root.rglob("*.wav"))
    assert dsnet("predict", fold, recording)[0] == 0
    assert "| true angry " in out
    assert "baseline: pooled UAR" in out
    assert "1 cells: 1 finished, 0 to compute" in dsnet(*command)[1]


def test_a_budget_that_is_spent_leaves_cells_for_the_same_command(dsnet, written, tmp_path):
    status, out, _ = dsnet("benchmark", written(), "--out", tmp_path / "out", "--time-budget", "0s")
    assert status == 0
    assert "0 of 1 cells" in out
    assert "1 left, go on with the same command" in out
    assert "dsnet report" not in out


def test_options_reach_the_suite(dsnet, written, asked, tmp_path):
    options = ["--root", f"more={tmp_path}", "--set", "epochs=7", "--set", "folds=0,2", "--set", "seeds=3"]
    corpora = {"more": {"corpus": "nemo"}, "small": {"corpus": "synthetic"}}
    dsnet(
        *("benchmark", written(corpora=corpora), *options, "--jobs", 3, "--executor", "ray", "--time-budget", "1.5h"),
        *("--device", "cpu", "--skip-problems", "--out", tmp_path / "out"),
    )
    ((grids, out, *rest), _) = asked[0]
    assert (out, rest) == (tmp_path / "out", [3, "ray", 5400.0, "cpu", True])
    (grid,) = grids
    assert (grid.folds, grid.seeds, grid.settings["epochs"]) == ("0,2", [3], 7)
    assert [corpus.root for corpus in grid.corpora] == [tmp_path, None]


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("9m", 540), ("0.5h", 1800)])
def test_a_time_budget_has_a_unit(dsnet, written, asked, text, seconds):
    assert dsnet("benchmark", written(), "--time-budget", text)[0] == 0
    assert asked[0][0][4] == seconds


def test_the_run_s_folder_has_the_specification_s_name(dsnet, asked):
    dsnet("benchmark", "quick")
    assert str(asked[0][0][1]) == "runs/quick"


SESSIONS = "path,speaker,label,session\na.wav,ann,angry,1\nb.wav,bob,sad,2\nc.wav,cyd,happy,3\nd.wav,ann,neutral,2"


@pytest.fixture
def two_sessions(tmp_path, small_root):
    """A manifest in which one speaker is in two of three sessions."""
    some = sorted(small_root.rglob("*.wav"))
    rows = SESSIONS
    for name, path in zip("abcd", some, strict=False):
        rows = rows.replace(f"{name}.wav", str(path))
    (tmp_path / "some.csv").write_text(rows)
    return {"mine": {"corpus": "manifest", "root": str(tmp_path / "some.csv")}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["dsnot"]}, "unknown method 'dsnot'; did you mean dsnet"),
        ({"methods": [{"method": "dsnet", "config": {"gama": 1}}]}, "does not take these settings"),
        ({"encoders": ["cmn"]}, "cmn"),
        ({"encoders": ["hf/no/such/folder"]}, "no/such/folder"),
        ({"corpora": {"emodb2": {}}}, "unknown corpus 'emodb2'; did you mean emodb"),
        ({"corpora": {"nemo": {"root": "/no/where"}}}, "no folder /no/where"),
        ({"corpora": {"nemo": {}}}, "add --root nemo=FOLDER"),
        ({"metods": []}, "key 'metods' is unknown; did you mean methods"),
        ({"folds": [9]}, "expected 'all' or numbers from 0 to 3"),
        ({"protocol": "session"}, "have no session"),
    ],
)
def test_a_wrong_specification_is_one_error_and_status_2(dsnet, written, tmp_path, changes, message):
    status, out, errors = dsnet("benchmark", written(**changes), "--out", tmp_path / "out")
    assert status == 2
    assert (out, len(errors)) == ("", 1)
    assert re.search(message, errors[0])
    assert not (tmp_path / "out").exists()


def test_a_split_with_a_speaker_on_both_sides_is_refused(dsnet, written, two_sessions, tmp_path):
    spec = written(corpora=two_sessions, protocol="session", folds="all")
    status, _, errors = dsnet("benchmark", spec, "--out", tmp_path / "out")
    assert status == 2
    assert errors == ["dsnet: fold 0: ann in validation and in test; a speaker may stand on one side only"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--root", "small"), "--root small: expected NAME=VALUE"),
        (("--set", "=3"), "--set =3: expected NAME=VALUE"),
        (("--set", "epochs=[1"), "is not YAML"),
        (("--set", "epochs=1", "--set", "epochs=2"), "--set epochs=... is there twice"),
        (("--root", "a=x", "--root", "a=y"), "--root a=... is there twice"),
        (("--set", f"epochs={'[' * 9_000}"), "nested too deeply"),
        (("--root", "x" * 20_000), "expected NAME=VALUE"),
        (("--set", "epocs=1"), "--set 'epocs' is unknown; did you mean epochs"),
        (("--time-budget", "9"), "--time-budget 9: expected a number with s, m or h"),
        (("--executor", "slurm"), "expected one of loky, ray, dask"),
        (("--root", "nemo=/x"), "has no corpus of this name; it has small"),
    ],
)
def test_a_wrong_option_is_one_error_and_status_2(dsnet, written, tmp_path, options, message):
    status, out, errors = dsnet("benchmark", written(), *options, "--out", tmp_path / "out")
    assert (status, out, len(errors)) == (2, "", 1)
    assert message in errors[0]


@pytest.mark.parametrize(("content", "message"), [("methods: [", "is not YAML"), ("just words", "holds a str")])
def test_a_file_that_is_no_specification_is_one_error_and_status_2(dsnet, tmp_path, content, message):
    (tmp_path / "bad.yaml").write_text(content)
    status, _, errors = dsnet("benchmark", tmp_path / "bad.yaml")
    assert (status, len(errors)) == (2, 1)
    assert message in errors[0]


def test_a_cell_that_fails_by_itself_is_named_with_status_2_and_the_others_are_finished(
    dsnet, written, small_corpus, tmp_path
):
    kept = [u for u in small_corpus.utterances if u.speaker in ("spk00", "spk01") or u.key.endswith("spk02_sad_00")]
    rows = [f"{u.path},{u.speaker},{u.label}" for u in kept]
    (tmp_path / "some.csv").write_text("\n".join(["path,speaker,label", *rows]))
    corpora = {"mine": {"corpus": "manifest", "root": str(tmp_path / "some.csv")}}
    spec = written(corpora=corpora, folds=[0, 1])
    status, out, errors = dsnet("benchmark", spec, "--out", tmp_path / "out")
    folder = "mine/cnn/baseline/seed-0/fold-00"  # its only training speaker has one utterance
    assert status == 2
    assert len(errors) == 1
    assert errors[0].startswith(f"dsnet: 1 cells failed, such as {folder}: fold 0: 1 utterances to train on")
    assert f"failed: {folder}: fold 0: 1 utterances to train on" in out
    assert "1 of 2 cells in" in out
    assert (tmp_path / "out/mine/cnn/baseline/seed-0/fold-01/result.json").is_file()


def test_a_neighbour_s_full_disk_is_one_error_and_status_2(dsnet, written, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dsnet_plugin.serialization.os.fsync", full)
    status, _, errors = dsnet("benchmark", written(), "--out", tmp_path / "out")
    assert status == 2
    (line,) = errors
    assert line.startswith(f"dsnet: [Errno 28] No space left on device: '{tmp_path}/out/")
    assert line.endswith("'; what is finished is on disk, and the same command continues")


def test_help_names_the_presets_and_the_executors(dsnet):
    status, out, _ = dsnet("benchmark", "--help")
    assert status == 0
    assert all(name in re.sub(r"\s", "", out) for name in (*presets(), "loky", "ray", "dask"))
