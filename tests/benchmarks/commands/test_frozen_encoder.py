"""A frozen encoder from the command line: encoded once, trained on, predicted with, exported, reported."""

import json
import shutil

import pytest
import torch

from benchmarks.commands.app import run_app  # noqa: F401  # the commands, before the cache is pointed elsewhere
from benchmarks.data import EncoderSpec
from benchmarks.data.audio import read_audio
from benchmarks.data.front_end import frozen_encoder, load_frozen
from benchmarks.grid.run import run_suite
from benchmarks.grid.spec import CorpusSpec, one_corpus
from benchmarks.methods import METHODS
from benchmarks.output.files import read_tensors
from benchmarks.training import load_model
from tests.backbones.tiny_speech_models import save_tiny

OPTIONS = ("--encoder-option", "freeze=all", "--encoder-option", "layer_weights=true")
SMALL = ("--folds", "0", "--epochs", "2", "--max-frames", "50", "--device", "cpu", "--protocol", "groups-4")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    return {family: save_tiny(root / family, family) for family in ("whisper", "wav2vec2")}


def train(root, folder, out, methods, *more):
    corpus = ("train", "--corpus", "synthetic", "--root", root, "--out", out)
    return (*corpus, "--backbone", f"hf/{folder}", *OPTIONS, *SMALL, "--method", methods, *more)


@pytest.fixture(scope="module")
def trained(folders, small_root, tmp_path_factory):
    """A run of the baseline, then of all methods, in a cache of its own: its folder and what was said each time."""
    out, said = tmp_path_factory.mktemp("run"), ([], [])
    encoder = EncoderSpec(f"hf/{folders['whisper']}", {"freeze": "all", "layer_weights": True})
    budget = {"epochs": 2, "max_frames": 50}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        for methods, lines in zip((["baseline"], list(METHODS)), said, strict=True):
            corpus = CorpusSpec("synthetic", "synthetic", small_root)
            grid = one_corpus(corpus, methods, encoders=[encoder], protocol="groups-4", folds="0", settings=budget)
            assert not run_suite([grid], out, device="cpu", say=lines.append).failed
        yield out, said


def test_every_method_trains_on_utterances_that_were_encoded_once(trained):
    out, (first, second) = trained
    assert sum("hf/whisper (freeze=all, layer_weights=True): 48 utterances encoded in" in line for line in first) == 1
    assert not any("encoded in" in line for line in second)
    lines = [json.loads(line) for line in (out / "cells.jsonl").read_text().splitlines()]
    assert {line["label"] for line in lines} == set(METHODS)
    digests = {line["identity"]["settings"]["encoder"]["digest"] for line in lines}
    assert len(digests) == 1
    assert len(digests.pop()) == 16
    assert lines[0]["identity"]["protocol"] == "groups-4"


def test_a_checkpoint_holds_what_was_trained_and_predicts_what_the_run_did(dsnet, small_root, trained):
    out, _ = trained
    for method in ("baseline", "isnet"):
        (fold,) = out.glob(f"synthetic/*/{method}/seed-0/fold-00")
        tensors, record = read_tensors(fold / "best.safetensors")
        assert record["encoder"]["options"] == {"freeze": "all", "layer_weights": True}
        assert sum(name.startswith("encoder.") for name in tensors) == 8  # layer weights, Linear, batch norm
        chosen = json.loads((fold / "predictions.json").read_text())["synthetic"][0]
        files = [path for path in small_root.rglob("*.wav") if path.stem in chosen["key"]]
        status, text, errors = dsnet("predict", fold, *files, "--json")
        assert status == 0, errors
        answer = json.loads(text)[0]
        first = answer.get("timeline", [answer])[0]  # training and tests hear the first window
        assert list(first["probabilities"].values()) == pytest.approx(chosen["probabilities"], abs=1e-4)


@pytest.mark.parametrize("form", ["torchscript", "onnx"])  # pt2: tests/benchmarks/deploy/test_export_reference.py
def test_the_whole_is_exported_from_waveform_to_logits(dsnet, small_root, trained, tmp_path, form):
    (fold,) = trained[0].glob("synthetic/*/dsnet/seed-0/fold-00")
    if form == "onnx":
        pytest.importorskip("onnxscript")
    status, text, errors = dsnet("export", fold, "--format", form, "--out", tmp_path)
    assert status == 0, errors
    assert "within" in text
    if form == "torchscript":
        model = torch.jit.load(tmp_path / "model.ts.pt")
        method, record = load_model(fold)
        wave = read_audio(next(iter(sorted(small_root.rglob("*.wav")))))[: 50 * 160 + 240][None]
        with torch.inference_mode():
            assert torch.allclose(model(wave), method(frozen_encoder(record.encoder)(wave)), atol=1e-4)


def test_the_report_names_encoder_options_and_protocol(dsnet, trained, tmp_path):
    status, _, errors = dsnet("report", trained[0], "--out", tmp_path / "report")
    assert status == 0, errors
    text = (tmp_path / "report" / "report.html").read_text()
    assert "hf/whisper (freeze=all, layer_weights=True)" in text
    assert "leave one of 4 speaker groups out" in text


def test_an_encoder_that_is_gone_or_another_is_refused_in_one_line(dsnet, folders, small_root, trained):
    out, _ = trained
    (fold,) = out.glob("synthetic/*/baseline/seed-0/fold-00")
    file = next(small_root.rglob("*.wav"))
    kept = folders["whisper"].with_name("kept")
    shutil.move(folders["whisper"], kept)
    try:
        load_frozen.cache_clear()
        status, _, errors = dsnet("predict", fold, file)
        assert (status, len(errors)) == (2, 1)
        assert "no such folder" in errors[0]
        save_tiny(folders["whisper"], "whisper")
        status, _, errors = dsnet("predict", fold, file)
        assert (status, next(line for line in errors if "Loading" not in line).count("put the encoder back")) == (2, 1)
        status, _, errors = dsnet(*train(small_root, folders["whisper"], out, "baseline"))
        assert status == 2
        assert "holds a training of other settings" in errors[-1]
    finally:
        shutil.rmtree(folders["whisper"], ignore_errors=True)
        shutil.move(kept, folders["whisper"])
        load_frozen.cache_clear()


def test_the_wav2vec2_family_goes_the_same_way_and_fine_tuning_still_works(
    dsnet, folders, small_root, trained, tmp_path
):
    status, text, errors = dsnet(*train(small_root, folders["wav2vec2"], tmp_path / "frozen", "dsnet"))
    assert status == 0, errors
    assert "encoded in" in text
    tuning = ("--backbone", f"hf/{folders['wav2vec2']}", "--encoder-option", "freeze=feature_extractor")
    corpus = ("train", "--corpus", "synthetic", "--root", small_root, "--out", tmp_path / "tuned")
    status, text, errors = dsnet(*corpus, *tuning, *SMALL, "--method", "dsnet")
    assert status == 0, errors
    assert "encoded in" not in text
    (fold,) = (tmp_path / "tuned").glob("synthetic/*/dsnet/seed-0/fold-00")
    tensors, _ = read_tensors(fold / "best.safetensors")
    assert any(name.startswith("encoder.model.") for name in tensors)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--encoder-option", "freeze"), "expected KEY=VALUE, each key once, such as freeze=all"),
        (("--encoder-option", "freeze=all", "--encoder-option", "freeze=none"), "each key once"),
        (("--encoder-option", "depth=3"), "has no option 'depth'; it takes freeze"),
        (("--encoder-option", "freeze=some"), "freeze='some': expected one of 'none', 'feature_extractor', 'all'"),
        (("--encoder-option", "freeze=all", "--encoder-option", "pooling=attention"), "pooling='attention' learns"),
        (("--protocol", "groups"), "expected loso, session, or groups-K"),
        (("--protocol", "groups-40"), "40 groups of 4 speakers"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(dsnet, folders, small_root, tmp_path, options, message):
    corpus = ("train", "--corpus", "synthetic", "--root", small_root, "--out", tmp_path)
    status, _, errors = dsnet(*corpus, "--backbone", f"hf/{folders['whisper']}", *options)
    assert status == 2
    assert message in errors[-1]
    assert not list(tmp_path.rglob("*.safetensors"))
