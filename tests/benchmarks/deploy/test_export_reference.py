"""Exported models that take a reference: the file with a sentence of the speaker, and without, beside the checkpoint."""

import json

import numpy as np
import pytest
import soundfile
import torch

from backbones import create_encoder, num_samples
from benchmarks.data import EncoderSpec
from benchmarks.data.audio import read_audio
from benchmarks.data.front_end import frozen_encoder, trainable_encoder
from benchmarks.deploy import export as exporting
from benchmarks.deploy.export import FILE_NAMES, export_model
from benchmarks.deploy.recogniser import Recogniser
from benchmarks.methods import create_method
from benchmarks.training.checkpoint import ModelRecord, load_model, save_model
from dsnet_plugin import Speaker
from tests.backbones.tiny_speech_models import save_tiny
from tests.benchmarks.deploy.test_export import CLASSES, METADATA, RUNTIMES, shake

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The given buffer is not writable"),
]

FRAMES = 48
NAMES = ["inputs", "neutral_features", "neutral_mask"]


def save(folder, encoder, spec, **config):
    """A checkpoint whose batch-norm statistics and P_er are far from a new model's, so that the reference matters."""
    torch.manual_seed(0)
    model = create_method("dsnet-enrolled", encoder, len(CLASSES), **config)
    shake(model)
    with torch.no_grad():
        model.head.p_er.projection.bias.uniform_(0, 2)
    blueprint = getattr(encoder, "blueprint", None)
    record = ModelRecord("dsnet-enrolled", model.config(), spec, CLASSES, FRAMES, blueprint)
    save_model(folder / "best.safetensors", model, record)
    return folder


def on_frozen(folder, family):
    torch.manual_seed(0)
    name = f"hf/{save_tiny(folder / family, family)}"
    spec = EncoderSpec(name, {"freeze": "all", "layer_weights": True})
    spec = EncoderSpec(name, spec.options, frozen_encoder(spec).digest)
    return save(folder, trainable_encoder(spec), spec)


def fine_tuned(folder, family):
    torch.manual_seed(0)
    name = f"hf/{save_tiny(folder / family, family)}"
    return save(folder, create_encoder(name), EncoderSpec(name))


MODELS = {
    "cnn": lambda folder: save(folder, create_encoder("cnn"), EncoderSpec("cnn")),
    "frozen whisper": lambda folder: on_frozen(folder, "whisper"),
    "frozen wav2vec2": lambda folder: on_frozen(folder, "wav2vec2"),
    "wav2vec2": lambda folder: fine_tuned(folder, "wav2vec2"),
}


# Each format and each kind of model: an export of a speech model to ONNX takes half a minute, all pairs would take four.
PAIRS = [
    *(("cnn", form) for form in FILE_NAMES),
    *(("frozen whisper", form) for form in ("torchscript", "pt2")),  # ONNX: test_frozen_encoder
    *(("wav2vec2", form) for form in ("torchscript", "onnx")),
    ("frozen wav2vec2", "torchscript"),
]


@pytest.fixture(scope="module")
def fold(request, tmp_path_factory):
    return MODELS[request.param](tmp_path_factory.mktemp("fold"))


@pytest.fixture(scope="module")
def cnn(tmp_path_factory):
    return MODELS["cnn"](tmp_path_factory.mktemp("cnn"))


def run(path, form):
    """The file at work: three tensors to logits and features. ONNX is run by onnxruntime, knowing nothing but the names."""
    if form != "onnx":
        return RUNTIMES[form](path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == NAMES
    assert [one.name for one in session.get_outputs()] == ["logits", "features"]

    def call(*tensors):
        found = session.run(["logits", "features"], {n: t.numpy() for n, t in zip(NAMES, tensors, strict=True)})
        return tuple(map(torch.from_numpy, found))

    return call


def speech(path, pitch, seconds):
    """Noise and harmonics, of which no two are alike."""
    time = np.arange(round(seconds * 16_000)) / 16_000
    wave = sum(np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 8)) * np.abs(np.sin(7 * time))
    wave = wave + 0.1 * np.random.default_rng(pitch).normal(size=len(time))
    soundfile.write(path, 0.1 * wave, 16_000)
    return path


@pytest.mark.parametrize(("fold", "form"), PAIRS, indirect=["fold"])
def test_from_waveform_to_logits_the_file_says_what_the_checkpoint_says_with_a_reference_and_without(
    dsnet, fold, tmp_path, form
):
    status, out, errors = dsnet("export", fold, "--format", form, "--out", tmp_path)
    assert status == 0, errors
    assert "neutral_mask (N,) to logits (N, 4), features (N, " in out
    assert out.endswith(" frames, with and without a reference\n")
    file, recogniser = run(tmp_path / FILE_NAMES[form], form), Recogniser(fold)
    about = json.loads(METADATA[form](tmp_path / FILE_NAMES[form]))
    waves = [read_audio(speech(tmp_path / f"{pitch}.wav", pitch, 0.6)) for pitch in (110, 170, 260)]
    neutral, *others = waves
    anna = recogniser.enrol([neutral])

    def heard(waveform):
        """What a user of the file hands to it: the front end alone comes before it."""
        if about["front_end"]["input"] == "waveform":
            return waveform[None, : num_samples(FRAMES)]
        return recogniser._inputs(waveform)

    none = torch.zeros(1, about["reference"]["width"])
    _, enrolled = file(heard(neutral), none, torch.tensor([False]))
    torch.testing.assert_close(enrolled[0], anna.features, atol=1e-4, rtol=0)
    for wave in others:
        found = [
            file(heard(wave), enrolled, torch.tensor([True]))[0],
            file(heard(wave), none, torch.tensor([False]))[0],
        ]
        method = recogniser.method
        with torch.inference_mode():
            h = method.encoder(recogniser._inputs(wave))
            expected = [method.head(h, neutral=anna.features[None]), method.head(h)]
        assert (expected[0] - expected[1]).abs().max() > 1e-2  # the reference matters
        for one, wanted, speaker in zip(found, expected, (anna, None), strict=True):
            torch.testing.assert_close(one, wanted, atol=1e-4, rtol=0)
            said = list(recogniser.probabilities(wave, speaker=speaker).values())
            assert one.softmax(1)[0].tolist() == pytest.approx(said, abs=1e-4)


@pytest.mark.parametrize("form", FILE_NAMES)
def test_a_batch_of_any_size_and_length_may_have_references_in_some_rows(cnn, tmp_path, form):
    file, (method, _) = run(export_model(cnn, form, tmp_path).path, form), load_model(cnn)
    for rows, frames in ((1, 16), (2, 40), (5, 100)):
        inputs, known = torch.randn(rows, 3, frames, 80), torch.arange(rows) % 2 == 0
        neutral = torch.rand(rows, 256)
        unknown_is_ignored = torch.where(known[:, None], neutral, torch.nan)
        logits, features = file(inputs, unknown_is_ignored, known)
        with torch.no_grad():
            h = method.encoder(inputs)
            torch.testing.assert_close(features, h, atol=1e-4, rtol=0)
            expected = method.head(h, neutral=neutral, neutral_mask=known)
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


def test_a_speaker_whom_dsnet_enrol_keeps_is_a_reference_of_the_file_of_the_same_model(dsnet, cnn, tmp_path):
    utterance, sentence = speech(tmp_path / "a.wav", 200, 0.49), speech(tmp_path / "n.wav", 150, 1.6)
    path = export_model(cnn, "onnx", tmp_path).path
    assert dsnet("enrol", cnn, "anna", sentence)[0] == 0
    anna = Speaker.load(cnn / "speakers" / "anna.safetensors")
    assert json.loads(METADATA["onnx"](path))["reference"] == {"width": 256, "model": anna.model}
    logits, _ = run(path, "onnx")(
        Recogniser(cnn)._inputs(read_audio(utterance)), anna.features[None], torch.tensor([True])
    )
    (said,) = json.loads(dsnet("predict", cnn, utterance, "--speaker", "anna", "--json")[1])
    assert logits.softmax(1)[0].tolist() == pytest.approx(list(said["probabilities"].values()), abs=1e-4)


def test_narrowed_features_are_narrowed_in_the_file_too(tmp_path):
    fold = save(tmp_path, create_encoder("cnn"), EncoderSpec("cnn"), narrow_to=32)
    found = export_model(fold, "torchscript")
    assert found.inputs.reference == 256
    assert found.difference < 1e-4


def test_the_file_holds_what_inference_needs_and_no_restorer(cnn, tmp_path):
    method, _ = load_model(cnn)
    parts = (method.encoder, method.head.p_ei, method.head.p_er, method.head.classifier)
    expected = sum(p.numel() for part in parts for p in part.parameters())
    module = torch.jit.load(export_model(cnn, "torchscript", tmp_path).path)
    assert sum(p.numel() for p in module.parameters()) == expected
    assert not [name for name, _ in module.named_parameters() if "restorer" in name]


@pytest.mark.parametrize(("output", "name"), [(0, "logits"), (1, "features")])
def test_a_file_that_says_something_else_is_refused_and_not_written(dsnet, cnn, tmp_path, monkeypatch, output, name):
    load = exporting.RUNTIMES["torchscript"]

    def off_by_a_little(content):
        return lambda inputs: [one + 2e-4 * (i == output) for i, one in enumerate(load(content)(inputs))]

    monkeypatch.setitem(exporting.RUNTIMES, "torchscript", off_by_a_little)
    status, out, errors = dsnet("export", cnn, "--format", "torchscript", "--out", tmp_path)
    assert (status, out, len(errors)) == (2, "", 1)
    assert f"the exported model's {name} differ from the checkpoint's by 2.0e-04" in errors[0]
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_goes_wrong_only_without_a_reference_is_refused(dsnet, cnn, tmp_path, monkeypatch):
    def always_known(self, inputs, neutral_features, neutral_mask):
        h = self.encoder(inputs)
        return self.classifier(self.p_er(h - neutral_features)), h

    monkeypatch.setattr("benchmarks.deploy.referred.ReferredModel.forward", always_known)
    status, out, errors = dsnet("export", cnn, "--format", "torchscript", "--out", tmp_path)
    assert (status, out, len(errors)) == (2, "", 1)
    assert "the exported model's logits differ from the checkpoint's by" in errors[0]
    assert list(tmp_path.iterdir()) == []
