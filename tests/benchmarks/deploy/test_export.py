import json
import sys

import numpy as np
import pytest
import torch

import benchmarks.deploy.export as exporting
from backbones import create_encoder
from benchmarks.data import EncoderSpec
from benchmarks.deploy.export import FILE_NAMES, export_model
from benchmarks.methods import create_method
from benchmarks.training.checkpoint import ModelRecord, load_model, save_model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

CLASSES = ["angry", "happy", "neutral", "sad"]
INFERENCE_PARAMETERS = 1_326_020  # of DSNet on the paper's CNN; 1,622,020 in training


def shake(model):
    """Takes batch-norm statistics and weights far from a new model's."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.2)
                module.bias.normal_()


def save(folder, method, encoder="cnn"):
    """A checkpoint whose weights and batch-norm statistics are far from a new model's."""
    torch.manual_seed(0)
    model = create_method(method, create_encoder(encoder), len(CLASSES))
    shake(model)
    record = ModelRecord(method, model.config(), EncoderSpec(encoder), CLASSES, 48)
    save_model(folder / "best.safetensors", model, record)
    return folder


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    return {method: save(tmp_path_factory.mktemp(method), method) for method in ("baseline", "dsnet")}


@pytest.fixture(scope="module")
def exported(folds, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported")
    return {form: export_model(folds["dsnet"], form, out).path for form in FILE_NAMES}


def run_onnx(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda inputs: torch.from_numpy(session.run(None, {"inputs": inputs.numpy()})[0])


def run_torchscript(path):
    return torch.jit.load(path)


def run_pt2(path):
    return torch.export.load(path).module()


RUNTIMES = {"onnx": run_onnx, "torchscript": run_torchscript, "pt2": run_pt2}


def metadata_onnx(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}["dsnet"]


def metadata_torchscript(path):
    files = {"dsnet": ""}
    torch.jit.load(path, _extra_files=files)
    return files["dsnet"]


def metadata_pt2(path):
    files = {"dsnet": ""}
    torch.export.load(path, extra_files=files)
    return files["dsnet"]


METADATA = {"onnx": metadata_onnx, "torchscript": metadata_torchscript, "pt2": metadata_pt2}


def compare(path, form, fold, lengths):
    model, _ = load_model(fold)
    run = RUNTIMES[form](path)
    for rows in (1, 2, 5):
        for frames in lengths:
            inputs = torch.randn(rows, 3, frames, 80)
            with torch.no_grad():
                torch.testing.assert_close(run(inputs), model(inputs), atol=1e-4, rtol=0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The given buffer is not writable")
@pytest.mark.parametrize("form", FILE_NAMES)
@pytest.mark.parametrize("method", ["baseline", "dsnet"])
def test_the_exported_model_gives_the_checkpoints_logits_for_any_batch_and_length(dsnet, folds, method, form):
    status, out, errors = dsnet("export", folds[method], "--format", form)
    path = folds[method] / FILE_NAMES[form]
    assert (status, errors) == (0, [])
    assert out.startswith(f"{path}: (N, 3, T >= 16, 80) to logits (N, 4); within ")
    assert out.endswith(" of the checkpoint's, batches of 1 and 3, 16 and 53 frames\n")
    compare(path, form, folds[method], (16, 40, 100))
    found = json.loads(METADATA[form](path))
    assert (found["method"], found["encoder"], found["classes"]) == (method, "cnn", CLASSES)
    assert found["output"] == "logits"
    assert found["front_end"] == {
        "input": "lmfb",
        "sample_rate": 16_000,
        "max_frames": 48,
        "min_frames": 16,
        "any_length": True,
        "mel_bins": 80,
        "deltas": 2,
        "frame_length": 400,
        "frame_shift": 160,
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_exported_dsnet_holds_no_training_only_parameters(exported):
    graph = onnx.load(exported["onnx"]).graph
    elements = sum(int(np.prod(tensor.dims)) for tensor in graph.initializer)
    assert 0.99 * INFERENCE_PARAMETERS < elements < 1.35e6
    assert [d.dim_param or d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == ["batch", 3, "frames", 80]
    module = torch.jit.load(exported["torchscript"])
    assert sum(p.numel() for p in module.parameters()) == INFERENCE_PARAMETERS
    program = torch.export.load(exported["pt2"])
    assert sum(p.numel() for p in program.parameters()) == INFERENCE_PARAMETERS


def test_the_file_names_no_folder_of_this_machine(exported):
    for path in exported.values():
        assert exporting.__file__.rpartition("/benchmarks/")[0].encode() not in path.read_bytes()
        assert torch.__file__.rpartition("/")[0].encode() not in path.read_bytes()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("form", FILE_NAMES)
def test_a_model_on_a_timm_encoder_is_exported_for_any_length(tmp_path, form):
    pytest.importorskip("timm")
    fold = save(tmp_path, "dsnet", "timm/resnet18")
    found = export_model(fold, form)
    assert found.inputs.any_length
    assert str(found.inputs) == "(N, 3, T >= 32, 80)"
    compare(found.path, form, fold, (32, 45))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("form", FILE_NAMES)
def test_a_model_on_wav2vec2_is_exported_for_waveforms_of_any_length(tmp_path, form):
    speech_models = pytest.importorskip("tests.backbones.tiny_speech_models")
    fold = save(tmp_path, "dsnet", f"hf/{speech_models.save_tiny(tmp_path / 'wav2vec2', 'wav2vec2')}")
    path = export_model(fold, form).path
    model, run = load_model(fold)[0], RUNTIMES[form](path)
    for rows, samples in ((1, 4000), (2, 6001), (5, 9000)):
        waveforms = torch.randn(rows, samples)
        torch.testing.assert_close(run(waveforms), model(waveforms), atol=1e-4, rtol=0)


def test_an_encoder_that_is_tied_to_a_length_is_exported_for_its_training_length(tmp_path):
    pytest.importorskip("timm")
    fold = save(tmp_path, "baseline", "timm/convnext_atto")
    found = export_model(fold, "onnx")
    assert str(found.inputs) == "(N, 3, T = 48, 80)"
    compare(found.path, "onnx", fold, (48,))
    front_end = json.loads(metadata_onnx(found.path))["front_end"]
    assert (front_end["min_frames"], front_end["max_frames"], front_end["any_length"]) == (48, 48, False)


@pytest.mark.parametrize("form", FILE_NAMES)
def test_a_model_that_cannot_be_exported_is_one_line_and_no_file(dsnet, folds, tmp_path, monkeypatch, form):
    def rows_one_by_one(self, x):  # ties the batch size
        return torch.stack([row.mean(1) for row in x])

    monkeypatch.setattr("backbones.cnn.AttentionPool.forward", rows_one_by_one)
    status, out, errors = dsnet("export", folds["dsnet"], "--format", form, "--out", tmp_path)
    assert (status, out, len(errors)) == (2, "", 1)
    assert f"a model on cnn cannot be exported as {form} for batches of any size (" in errors[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", FILE_NAMES)
def test_an_export_with_other_logits_is_refused_and_leaves_no_file(dsnet, folds, tmp_path, monkeypatch, form):
    load = exporting.RUNTIMES[form]
    monkeypatch.setitem(exporting.RUNTIMES, form, lambda content: lambda inputs: [load(content)(inputs)[0] + 2e-4])
    status, out, errors = dsnet("export", folds["dsnet"], "--format", form, "--out", tmp_path)
    assert (status, out, len(errors)) == (2, "", 1)
    assert "logits differ from the checkpoint's by 2.0e-04" in errors[0]
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_writing_keeps_the_earlier_file(folds, tmp_path, monkeypatch):
    path = tmp_path / "mine.bin"
    path.write_bytes(b"earlier")

    def full(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        export_model(folds["dsnet"], "torchscript", path)
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{fold}", "--format", "onx"), "unknown format 'onx'; did you mean onnx?"),
        (("{fold}", "--format", "tflite"), "unknown format 'tflite'; known: onnx, torchscript, pt2"),
        (("{empty}", "--format", "onnx"), "best.safetensors"),
        (("{text}", "--format", "pt2"), "not a safetensors file"),
        (
            ("{fold}/best.safetensors", "--format", "torchscript", "--out", "{fold}/best.safetensors"),
            "is the checkpoint itself",
        ),
    ],
)
def test_each_bad_input_is_one_line_and_status_2(dsnet, folds, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("hello")
    before = (folds["dsnet"] / "best.safetensors").read_bytes()
    names = {"fold": folds["dsnet"], "empty": tmp_path / "empty", "text": tmp_path / "text"}
    status, _, errors = dsnet("export", *(argument.format(**names) for argument in arguments))
    assert (status, len(errors)) == (2, 1)
    assert message in errors[0]
    assert (folds["dsnet"] / "best.safetensors").read_bytes() == before


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_without_onnx_the_command_says_what_to_install(dsnet, folds, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)  # importing it raises ModuleNotFoundError
    status, out, errors = dsnet("export", folds["dsnet"], "--format", "onnx")
    assert (status, out) == (2, "")
    assert errors == [f"dsnet: export to ONNX needs {package}: pip install 'dsnet_plugin[export]'"]


def test_without_onnxruntime_the_file_is_written_and_said_to_be_unchecked(dsnet, folds, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    status, out, errors = dsnet("export", folds["baseline"], "--format", "onnx", "--out", tmp_path)
    assert (status, errors) == (0, [])
    assert out.endswith("not checked, onnxruntime is not installed\n")
    monkeypatch.undo()
    compare(tmp_path / "model.onnx", "onnx", folds["baseline"], (16, 40))
