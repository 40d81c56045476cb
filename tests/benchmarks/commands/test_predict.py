import json

import numpy as np
import pytest
import soundfile
import torch

from backbones import add_deltas, create_encoder, fit_frames, log_mel
from benchmarks.data.features import read_audio
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
    record = ModelRecord(name, model.config(), "cnn", CLASSES, FRAMES)
    save_model(folder / "best.safetensors", model, record)
    return folder


@pytest.fixture(scope="module")
def dsc(tmp_path_factory):
    return save(tmp_path_factory.mktemp("dsc"), "dsc")


def tone(path, pitch):
    wave = np.sin(2 * np.pi * pitch * np.arange(8_000) / 16_000) * np.linspace(0, 0.5, 8_000)
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
