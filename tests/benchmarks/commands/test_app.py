import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from safetensors.torch import save_file

from benchmarks.commands.app import run_app
from benchmarks.corpora import CORPORA

SMALL = ("--method", "dsnet", "--folds", "0", "--epochs", "1", "--max-frames", "32", "--device", "cpu")


@pytest.fixture(scope="module")
def checkpoint(small_root, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    arguments = ["train", "--corpus", "synthetic", "--root", small_root, "--out", out, *SMALL]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["dsnet", *map(str, arguments)])
        assert run_app() == 0
    return out / "synthetic/cnn/dsnet/seed-0/fold-00"


def test_training_two_methods_prints_folds_scores_and_a_comparison_and_writes_them(dsnet, small_root, tmp_path):
    options = ("--folds", "0,2", "--epochs", "2", "--max-frames", "32", "--out", tmp_path, "--method", "baseline,dsnet")
    status, out, _ = dsnet("train", "--corpus", "synthetic", "--root", small_root, *options)
    assert status == 0
    assert "48 utterances (angry 12, happy 12, neutral 12, sad 12), 4 speakers" in out
    folder = "synthetic/cnn/{}/seed-0/fold-0{}"
    assert [line.split(",")[0] for line in out.splitlines() if "fold-0" in line and ": test" in line] == [
        f"{folder.format('baseline', 0)}: test spk00",
        f"{folder.format('dsnet', 0)}: test spk00",
        f"{folder.format('baseline', 2)}: test spk02",
        f"{folder.format('dsnet', 2)}: test spk02",
    ]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert out.count("| true angry ") == 2
    assert out.count("pooled UAR ") == 3
    table = [line.split("|") for line in out[out.index("| method") :].partition("\n\n")[0].splitlines()][2:]
    for name, row in zip(("baseline", "dsnet"), table, strict=True):
        scores = summary[name]
        assert row[1].strip() == name
        assert row[2].strip() == f"{scores['training_parameters'] / 1e6:.2f}M / {scores['training_macs'] / 1e9:.2f}G"
        low, high = scores["interval"]
        assert row[5].strip() == f"{scores['uar']:.2f} [{low:.2f}, {high:.2f}]"
        folders = [tmp_path / folder.format(name, k) for k in (0, 2)]
        results = [json.loads((own / "result.json").read_text()) for own in folders]
        rows = [json.loads((own / "predictions.json").read_text()) for own in folders]
        hits = [p["truth"] == p["prediction"] for own in rows for p in own["synthetic"]]
        assert scores["accuracy"] == pytest.approx(100 * np.mean(hits))
        assert scores["fold_uar"] == pytest.approx(np.mean([r["tests"]["synthetic"]["uar"] for r in results]))
        assert sum(map(sum, scores["confusion"])) == 24
        for space, probed in results[0]["probes"]["spaces"].items():
            emotion = np.mean([probed["emotion"], results[1]["probes"]["spaces"][space]["emotion"]])
            assert re.search(rf"^\| {name} +\| {space} +\| +{emotion:.1f} \|", out, re.MULTILINE)
        curves = tmp_path / "synthetic/cnn" / name
        assert (curves / "curves.png").read_bytes().startswith(b"\x89PNG")
        assert len((curves / "curves.csv").read_text().splitlines()) == 1 + 2 * 2


def test_more_folds_into_the_same_folder_keep_those_that_are_there(dsnet, small_root, tmp_path):
    train = ("train", "--corpus", "synthetic", "--root", small_root, "--out", tmp_path, *SMALL)
    assert dsnet(*train)[0] == 0
    before = (tmp_path / "synthetic/cnn/dsnet/seed-0/fold-00/result.json").stat().st_mtime_ns
    assert dsnet(*train, "--folds", "0,1")[0] == 0
    assert (tmp_path / "synthetic/cnn/dsnet/seed-0/fold-00/result.json").stat().st_mtime_ns == before
    assert (tmp_path / "synthetic/cnn/dsnet/seed-0/fold-01/result.json").exists()


def test_the_synthetic_corpus_needs_no_root(dsnet):
    status, out, _ = dsnet("corpora", "synthetic", "--correlation", "0.9")
    assert status == 0
    assert "| all " in out
    assert "6 speakers" in out


def test_corpora_lists_every_corpus_and_what_is_expected_of_one(dsnet):
    status, out, _ = dsnet("corpora")
    assert status == 0
    assert all(f"| {name} " in out for name in CORPORA)
    assert (
        "expected: 5,531 utterances (angry 1,103, happy 1,636, neutral 1,708, sad 1,084), 10 speakers"
        in (dsnet("corpora", "iemocap")[1])
    )


def test_corpora_says_what_a_folder_holds_and_each_problem_in_it(dsnet, small_root, tmp_path):
    root = tmp_path / "damaged"
    shutil.copytree(small_root, root)
    files = sorted(root.rglob("*.wav"))
    files[0].write_text("no sound")
    files[1].write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    files[2].unlink()
    status, out, _ = dsnet("corpora", "synthetic", "--root", root)
    assert status == 0
    assert "45 of 288 utterances" in out
    assert f"unreadable: 1: {files[0].relative_to(root).as_posix()}" in out
    assert "Git LFS pointers instead of audio (run git lfs pull): 1" in out
    assert f"missing (looked for in {root}): 1" in out


def test_absent_files_stop_a_training_until_they_are_left_out_aloud(dsnet, small_root, tmp_path):
    root = tmp_path / "damaged"
    shutil.copytree(small_root, root)
    next(root.rglob("spk03_sad*.wav")).write_text("no sound")
    train = ("train", "--corpus", "synthetic", "--root", root, "--out", tmp_path / "out", *SMALL)
    status, _, errors = dsnet(*train)
    assert status == 2
    assert len(errors) == 1
    assert "1 unreadable" in errors[0]
    assert "--skip-problems" in errors[0]
    status, out, _ = dsnet(*train, "--skip-problems")
    assert status == 0
    assert "going on without 1 utterances" in out
    assert "47 utterances" in out


def tone(path, rate=16_000, channels=1, seconds=0.7):
    wave = 0.3 * np.sin(2 * np.pi * 220 * np.arange(int(rate * seconds)) / rate)
    soundfile.write(path, np.stack([wave] * channels, 1), rate)
    return path


def test_predict_takes_any_rate_and_channel_count_and_gives_probabilities(dsnet, checkpoint, tmp_path):
    files = [tone(tmp_path / "a.wav"), tone(tmp_path / "b.flac", 44_100, 2), tone(tmp_path / "c.wav", 8_000)]
    status, out, errors = dsnet("predict", checkpoint, *files, "--json")
    assert status == 0
    predictions = json.loads(out)
    assert [p["file"] for p in predictions] == list(map(str, files))
    for p in predictions:
        assert sum(p["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert p["emotion"] == max(p["probabilities"], key=p["probabilities"].get)
    heard = "0.70 s, heard in 4 windows of 0.34 s every 0.17 s; the row is their mean, --timeline FOLDER writes them"
    low = f"dsnet: {files[2]}: 8000 Hz, so nothing above 4000 Hz; trained on 16000 Hz"
    assert errors == [*(f"dsnet: {file}: {heard}" for file in files[:2]), low, f"dsnet: {files[2]}: {heard}"]


def test_predict_gives_the_probabilities_of_the_training_run(dsnet, checkpoint, small_root):
    files = {path.stem: path for path in small_root.rglob("*.wav")}
    chosen = json.loads((checkpoint / "predictions.json").read_text())["synthetic"][:5]
    _, out, _ = dsnet("predict", checkpoint / "best.safetensors", *(files[p["key"]] for p in chosen), "--json")
    for p, found in zip(chosen, json.loads(out), strict=True):
        first = found["timeline"][0] if "timeline" in found else found  # training and tests hear the first window
        assert list(first["probabilities"].values()) == pytest.approx(p["probabilities"], abs=1e-5)


def test_predict_keeps_what_it_can_and_names_each_file_that_it_cannot_read(dsnet, checkpoint, tmp_path):
    good = tone(tmp_path / "good.wav")
    text, empty, silent = (tmp_path / name for name in ("text.wav", "empty.wav", "no_samples.wav"))
    text.write_text("hello")
    empty.touch()
    soundfile.write(silent, np.zeros(0), 16_000)
    status, out, errors = dsnet("predict", checkpoint, text, good, empty, silent, tmp_path / "absent.wav")
    assert status == 2
    assert [line.split("|")[1].strip() for line in out.splitlines()[2:]] == [str(good)]
    assert errors.pop(0).startswith(f"dsnet: {good}: 0.70 s, heard in")
    assert len(errors) == 4
    for name, line in zip((text, empty, silent, tmp_path / "absent.wav"), errors, strict=True):
        assert line.startswith(f"dsnet: {name}: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("corpora", "ravdes"), "unknown corpus 'ravdes'; did you mean ravdess?"),
        (("corpora", "--root", "."), "needs the corpus' name"),
        (("train", "--corpus", "ravdess"), "--corpus ravdess needs --root"),
        (("train", "--corpus", "ravdess", "--root", "nowhere"), "nowhere"),
        (("train", "--corpus", "ravdess", "--root", "{empty}"), "nothing of RAVDESS"),
        (("train", "--corpus", "manifest", "--root", "{manifest}"), "'joyless'"),
        (("train", "--corpus", "synthetic", "--root", "{small}", "--folds", "9"), "numbers from 0 to 3"),
        (
            ("train", "--corpus", "synthetic", "--root", "{small}", "--method", "dsnett"),
            "unknown method 'dsnett'; did you mean dsnet?",
        ),
        (("train", "--corpus", "synthetic", "--correlation", "1.5"), "correlation=1.5"),
        (("train", "--corpus", "emodb", "--root", ".", "--correlation", "0.5"), "synthetic alone"),
        (("predict", "{text}", "a.wav"), "not a safetensors file"),
        (("predict", "{foreign}", "a.wav"), "was not written by dsnet train"),
        (("predict", "nowhere.safetensors", "a.wav"), "no file nowhere.safetensors"),
    ],
)
def test_each_bad_input_gets_one_line_and_status_2(dsnet, small_root, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    tone(tmp_path / "x.wav")
    (tmp_path / "manifest.csv").write_text("path,speaker,label\nx.wav,anna,joyless\n")
    (tmp_path / "text.safetensors").write_text("hello")
    save_file({}, tmp_path / "foreign.safetensors")
    names = {
        "empty": tmp_path / "empty",
        "small": small_root,
        "manifest": tmp_path / "manifest.csv",
        "text": tmp_path / "text.safetensors",
        "foreign": tmp_path / "foreign.safetensors",
    }
    status, _, errors = dsnet(*(str(argument).format(**names) for argument in arguments))
    assert status == 2
    assert len(errors) == 1, errors
    assert errors[0].startswith("dsnet: ")
    assert message in errors[0]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("train", "--epochs", "0"), "--epochs"),
        (("train", "--nonsense"), "--nonsense"),
        (("predict",), "checkpoint"),
        (("nonsense",), "nonsense"),
    ],
)
def test_a_wrong_call_names_what_is_wrong_with_status_2(dsnet, arguments, named):
    status, _, errors = dsnet(*arguments)
    assert status == 2
    assert named in errors[-1].lower()


def test_complexity_prints_the_computed_counts_beside_the_papers(dsnet):
    status, out, _ = dsnet("complexity")
    assert status == 0
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines() if line.startswith("| ")]
    assert ["baseline", "1,227,140 (1.23M)", "1.9754G (1.98G)", "1,227,140 (1.23M)", "1.9754G (1.98G)"] in rows
    assert ["dsnet", "1,622,020 (1.63M)", "3.9511G (3.95G)", "1,326,020 (1.33M)", "1.9755G (1.98G)"] in rows
    assert ["dsc", "2,437,444 (2.44M)", "3.9507G (3.95G)", "2,437,444 (2.44M)", "3.9507G (3.95G)"] in rows
    assert ["isnet", "2,553,160 (2.56M)", "17.7783G (17.78G)", "1,326,020 (1.33M)", "1.9755G (1.98G)"] in rows
    assert ["menan", "1,244,236", "3.9507G", "1,227,140", "1.9754G"] in rows


def test_without_the_extra_the_command_says_which_to_install():
    code = "import sys; sys.modules['typer'] = None; sys.argv = ['dsnet']; from benchmarks.__main__ import main; main()"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert found.stderr.strip() == "dsnet: typer is not installed; pip install 'dsnet_plugin[benchmarks]'"


def test_a_corpus_of_8_khz_and_stereo_files_is_used_and_said_aloud(dsnet, small_root, tmp_path):
    root = tmp_path / "telephone"
    shutil.copytree(small_root, root)
    telephone, stereo = sorted(root.rglob("*.wav"))[:2]
    tone(telephone, 8_000)
    tone(stereo, 44_100, channels=2)
    status, out, _ = dsnet("train", "--corpus", "synthetic", "--root", root, "--out", tmp_path / "out", *SMALL)
    assert status == 0
    assert "48 utterances" in out
    assert f"1 files below 16,000 Hz, such as {telephone.relative_to(root).as_posix()} (8,000 Hz)" in out
    assert "below 16,000 Hz, resampled: 1" in dsnet("corpora", "synthetic", "--root", root)[1]
