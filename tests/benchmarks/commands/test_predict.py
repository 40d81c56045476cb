import json

import numpy as np
import pytest
import soundfile
import torch

from backbones import add_deltas, create_encoder, fit_frames, log_mel
from benchmarks.data import PAPERS_CNN
from benchmarks.data.audio import read_audio
from benchmarks.methods import create_method
from benchmarks.training.checkpoint import ModelRecord, load_model, save_model

CLASSES = ["angry", "happy", "neutral", "sad"]
FRAMES = 32


def save(folder, name):
    """A checkpoint whose batch-norm statistics are not a new model's, so that inputs make a difference."""
    torch.manual_seed(0)
    model = create_method(name, create_encoder("cnn"), 4).train()
    with torch.no_grad():
        model(torch.randn(8, 3, FRAMES, 80) * 4 + 8, neutral=torch.randn(8, 3, FRAMES, 80) * 4 + 8)
    record = ModelRecord(name, model.config(), PAPERS_CNN, CLASSES, FRAMES)
    save_model(folder / "best.safetensors", model, record)
    return folder


@pytest.fixture(scope="module")
def dsc(tmp_path_factory):
    return save(tmp_path_factory.mktemp("dsc"), "dsc")


def tone(path, pitch):
    wave = np.sin(2 * np.pi * pitch * np.arange(5_360) / 16_000) * np.linspace(0, 0.5, 5_360)  # FRAMES long
    soundfile.write(path, wave, 16_000)
    return path


def inputs(path):
    return add_deltas(fit_frames(log_mel(read_audio(path), FRAMES), FRAMES)[None])


def test_dsc_hears_the_neutral_recording_beside_each_file(dsnet, dsc, tmp_path):
    a, b, first, second = (tone(tmp_path / f"{pitch}.wav", pitch) for pitch in (200, 400, 800, 1600))
    model, _ = load_model(dsc)
    seen = []
    for neutral in (first, second):
        status, out, errors = dsnet("predict", dsc, a, b, "--neutral", neutral, "--json")
        assert (status, errors) == (0, [])
        for file, found in zip((a, b), json.loads(out), strict=True):
            with torch.no_grad():
                expected = model(inputs(file), neutral=inputs(neutral)).softmax(1)[0].tolist()
            assert list(found["probabilities"].values()) == pytest.approx(expected, abs=1e-6)
            seen.append(expected)
    assert np.abs(np.subtract(seen[0], seen[2])).max() > 1e-4  # it does depend on the neutral recording


@pytest.mark.parametrize("name", ["dsc", "dsc-gate"])
def test_a_method_that_needs_neutral_speech_says_so_before_any_file_is_read(dsnet, tmp_path, name):
    status, out, errors = dsnet("predict", save(tmp_path, name), tmp_path / "absent.wav")
    assert (status, out) == (2, "")
    assert errors == [f"dsnet: {name} needs neutral speech of the speaker of the files: give it with --neutral FILE"]


def test_any_other_method_refuses_a_neutral_recording(dsnet, tmp_path):
    file = tone(tmp_path / "a.wav", 200)
    status, out, errors = dsnet("predict", save(tmp_path, "dsnet"), file, "--neutral", file)
    assert (status, out) == (2, "")
    assert errors == [f"dsnet: --neutral {file}: dsnet takes no neutral recording; leave the option out"]


def test_a_neutral_recording_that_cannot_be_read_is_one_line_and_nothing_is_predicted(dsnet, dsc, tmp_path):
    file, text = tone(tmp_path / "a.wav", 200), tmp_path / "neutral.wav"
    text.write_text("hello")
    status, out, errors = dsnet("predict", dsc, file, "--neutral", text)
    assert (status, out, len(errors)) == (2, "", 1)
    assert errors[0].startswith(f"dsnet: {text}: not readable as audio")


@pytest.mark.parametrize("form", ["onnx", "torchscript", "pt2"])
def test_the_export_of_dsc_is_refused_in_one_line(dsnet, dsc, form):
    pytest.importorskip("onnxscript")
    status, out, errors = dsnet("export", dsc, "--format", form)
    assert (status, out, len(errors)) == (2, "", 1)
    assert errors[0].startswith("dsnet: dsc hears a neutral recording of the speaker beside each utterance")
    assert [path.name for path in dsc.iterdir()] == ["best.safetensors"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return save(tmp_path_factory.mktemp("dsnet"), "dsnet")


def sound(path, seconds, level=0.1):
    soundfile.write(path, level * np.random.default_rng(0).standard_normal(round(seconds * 16_000)), 16_000)
    return path


def test_a_longer_file_gets_a_timeline_of_windows_that_overlap(dsnet, plain, tmp_path):
    file = sound(tmp_path / "long.wav", 1.0)
    status, out, errors = dsnet("predict", plain, file, "--hop", "0.25", "--timeline", tmp_path / "out", "--json")
    [found] = json.loads(out)
    window = (400 + (FRAMES - 1) * 160) / 16_000
    assert (status, found["seconds"], found["window"], found["hop"]) == (0, 1.0, window, 0.25)
    assert [(m["start"], m["end"]) for m in found["timeline"]] == [
        (0.0, window),
        (0.25, 0.25 + window),
        (0.5, 0.5 + window),
        (0.75, 1.0),
    ]
    model, _ = load_model(plain)
    waveform = read_audio(file)
    for moment in found["timeline"]:
        heard = waveform[round(moment["start"] * 16_000) : round(moment["end"] * 16_000)]
        with torch.no_grad():
            expected = model(add_deltas(fit_frames(log_mel(heard, FRAMES), FRAMES)[None])).softmax(1)[0].tolist()
        assert list(moment["probabilities"].values()) == pytest.approx(expected, abs=1e-5)
    mean = np.mean([list(m["probabilities"].values()) for m in found["timeline"]], axis=0)
    assert list(found["probabilities"].values()) == pytest.approx(mean)
    assert len(errors) == 1
    assert "1.00 s, heard in 4 windows of 0.34 s every 0.25 s" in errors[0]
    header, *rows = (tmp_path / "out/long.csv").read_text().splitlines()
    assert header == "start,end,emotion,angry,happy,neutral,sad"
    assert [row.split(",")[2] for row in rows] == [m["emotion"] for m in found["timeline"]]
    assert (tmp_path / "out/long.png").read_bytes().startswith(b"\x89PNG")


def test_two_files_of_one_name_have_two_timelines(dsnet, plain, tmp_path):
    files = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        files.append(sound(tmp_path / folder / "x.wav", 1.0))
    assert dsnet("predict", plain, *files, "--timeline", tmp_path / "out")[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.csv")) == ["x-2.csv", "x.csv"]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("zeros", "silence, nothing above -70 dB of full scale"),
        ("offset", "silence, nothing above"),
        ("antiphase", "silence, nothing above"),
        ("one sample", "0.0625 ms of sound"),
    ],
)
def test_where_there_is_no_speech_it_is_said_in_words_and_in_json(dsnet, plain, tmp_path, kind, reason):
    wave = 0.3 * np.sin(np.arange(4_000) / 7)
    samples = {
        "zeros": np.zeros(4_000),
        "offset": np.full(4_000, 0.2),
        "antiphase": np.stack([wave, -wave], 1),
        "one sample": np.ones(1),
    }[kind]
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    status, out, errors = dsnet("predict", plain, tmp_path / "a.wav")
    assert status == 0
    assert [cell.strip() for cell in out.splitlines()[2].split("|")[2:-1]] == ["no speech", "-", "-", "-", "-"]
    assert len(errors) == 1
    assert f"a.wav: no speech: {reason}" in errors[0]
    [found] = json.loads(dsnet("predict", plain, tmp_path / "a.wav", "--json")[1])
    assert (found["emotion"], found["probabilities"]) == (None, None)
    assert found["no_speech"].startswith(reason)


def test_pauses_of_a_longer_file_have_no_emotion_and_do_not_count(dsnet, plain, tmp_path):
    samples = np.concatenate([0.1 * np.random.default_rng(0).standard_normal(5_360), np.zeros(8_000)])
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    [found] = json.loads(dsnet("predict", plain, tmp_path / "a.wav", "--json")[1])
    assert [m["emotion"] is None for m in found["timeline"]] == [False, False, True, True]
    heard = [list(m["probabilities"].values()) for m in found["timeline"][:2]]
    assert list(found["probabilities"].values()) == pytest.approx(np.mean(heard, axis=0))


def test_a_name_of_any_bytes_is_predicted_and_quoted_and_costs_the_others_nothing(dsnet, plain, tmp_path):
    names = ["good.wav", "caf\udce9.wav", "evil\x1b[2J\nname.wav"]
    files = [sound(tmp_path / "x.wav", 0.3).rename(tmp_path / name) for name in names]
    bad = tmp_path / "b\udcffd.wav"
    bad.write_text("no audio")
    status, out, errors = dsnet("predict", plain, files[0], bad, *files[1:])
    assert status == 2
    assert [line.split("|")[1].strip() for line in out.splitlines()[2:]] == [
        f"{tmp_path}/good.wav",
        f"{tmp_path}/caf\\udce9.wav",
        f"{tmp_path}/evil\\x1b[2J\\nname.wav",
    ]
    assert len(errors) == 1
    assert errors[0].startswith(f"dsnet: {tmp_path}/b\\udcffd.wav: not readable as audio")
    assert [p["file"] for p in json.loads(dsnet("predict", plain, *files, "--json")[1])] == list(map(str, files))


def test_weights_that_are_no_numbers_are_refused(dsnet, tmp_path):
    folder = save(tmp_path, "dsnet")
    model, record = load_model(folder)
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    save_model(folder / "best.safetensors", model, record)
    status, out, errors = dsnet("predict", folder, sound(tmp_path / "a.wav", 0.3))
    assert (status, out, len(errors)) == (2, "", 1)
    assert "holds values that are not numbers; train the model again" in errors[0]


def test_an_answer_that_is_no_number_is_that_file_s_line(dsnet, plain, tmp_path, monkeypatch):
    model, _ = load_model(plain)
    monkeypatch.setattr(type(model), "forward", lambda *_, **__: torch.full((1, 4), torch.nan))
    status, out, errors = dsnet("predict", plain, sound(tmp_path / "a.wav", 0.3))
    assert (status, out, len(errors)) == (2, "", 1)
    assert "answers with what is not a number" in errors[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--window", "2"), "--window 2: expected 0.025 to 0.335 seconds, which is what this model hears at once"),
        (("--window", "nan"), "--window nan: expected"),
        (("--hop", "0"), "--hop 0: expected 0.01 to 0.335 seconds"),
        (("--hop", "0.4"), "--hop 0.4: expected 0.01 to 0.335 seconds, so that nothing between windows is left out"),
    ],
)
def test_windows_that_the_model_cannot_hear_or_that_leave_gaps_are_refused(dsnet, plain, tmp_path, options, message):
    status, out, errors = dsnet("predict", plain, sound(tmp_path / "a.wav", 0.3), *options)
    assert (status, out) == (2, "")
    assert errors[0].startswith(f"dsnet: {message}")
