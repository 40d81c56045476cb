import json
import shutil

import pytest
import torch

from backbones import create_encoder
from benchmarks.cost.complexity import measure
from benchmarks.cost.macs import torch_macs
from benchmarks.data import EncoderSpec
from benchmarks.data.audio import read_audio
from benchmarks.data.features import cut_waveform, extract
from benchmarks.data.speech_data import SpeechData
from benchmarks.methods import create_method
from benchmarks.training.checkpoint import load_model
from tests.backbones.tiny_speech_models import save_tiny
from tests.benchmarks.cost.test_complexity import CLASSIFIER, ENCODER, FRAMES

SMALL = ("--folds", "0", "--epochs", "1", "--max-frames", "32", "--device", "cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    return save_tiny(tmp_path_factory.mktemp("models") / "w2v", "wav2vec2")


@pytest.mark.parametrize("kind", ["timm", "hf"])
def test_training_on_any_backbone_gives_a_checkpoint_that_predicts_what_the_run_did(
    dsnet, small_root, folder, tmp_path, kind
):
    source = tmp_path / "model"
    shutil.copytree(folder, source)
    name = f"hf/{source}" if kind == "hf" else "timm/mobilenetv3_small_050"
    train = ("train", "--corpus", "synthetic", "--root", small_root, "--out", tmp_path / "out", "--backbone", name)
    status, out, errors = dsnet(*train, *SMALL, "--method", "baseline,dsnet")
    assert status == 0, errors
    assert "| dsnet " in out
    shutil.rmtree(source)  # the checkpoint stands alone
    for method in ("baseline", "dsnet"):
        (fold,) = (tmp_path / "out" / "synthetic").glob(f"*/{method}/seed-0/fold-00")
        result = json.loads((fold / "result.json").read_text())
        assert result["identity"]["settings"]["encoder"]["name"] == name
        chosen = json.loads((fold / "predictions.json").read_text())["synthetic"][0]
        files = [path for path in small_root.rglob("*.wav") if path.stem in chosen["key"]]
        status, out, _ = dsnet("predict", fold, *files, "--json")
        assert status == 0
        first = json.loads(out)[0]["timeline"][0]  # training and tests hear the first window
        assert list(first["probabilities"].values()) == pytest.approx(chosen["probabilities"], abs=1e-5)


def test_an_encoder_of_transformers_is_built_from_the_checkpoint_alone(dsnet, small_root, folder, tmp_path):
    source = tmp_path / "model"
    shutil.copytree(folder, source)
    train = ("train", "--corpus", "synthetic", "--root", small_root, "--out", tmp_path / "out")
    assert dsnet(*train, *SMALL, "--backbone", f"hf/{source}", "--method", "baseline")[0] == 0
    shutil.rmtree(source)
    (fold,) = (tmp_path / "out" / "synthetic").glob("*/baseline/seed-0/fold-00")
    model, record = load_model(fold)
    assert record.encoder.name == f"hf/{source}"
    assert model.encoder.model.config.hidden_size == 16
    assert not model.training


def test_waveforms_are_cut_padded_and_masked_and_log_mel_is_not_computed(small_corpus, monkeypatch):
    monkeypatch.setattr("benchmarks.data.features.log_mel", lambda *_: pytest.fail("computed"))
    utterances = small_corpus.utterances[:3]
    waveforms, problems = extract(utterances, 20, "waveform")
    assert not problems
    assert [len(own) for own in waveforms] == [20 * 160 + 240] * 3
    assert torch.equal(waveforms[1], read_audio(utterances[1].path)[: 20 * 160 + 240])
    waveforms[1] = waveforms[1][:1_000]
    data = SpeechData(utterances, waveforms, 20, torch.device("cpu"), "waveform")
    batch = data.inputs([1, 2])
    assert torch.equal(batch["mask"].sum(1), torch.tensor([1_000, 3_440]))
    assert torch.equal(batch["waveform"][batch["mask"]], torch.cat([waveforms[1], waveforms[2]]))
    assert not batch["waveform"][~batch["mask"]].any()


def test_a_waveform_shorter_than_a_frame_is_padded_to_one():
    assert torch.equal(cut_waveform(torch.ones(100), 20), torch.cat([torch.ones(100), torch.zeros(300)]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/resnet81", "knows no model 'resnet81'; did you mean"),
        ("hf/absent/folder/", "no such folder"),
        ("resnet18", "unknown encoder 'resnet18'; known: cnn, hf/<id or folder>, timm/<name>"),
    ],
)
def test_an_unknown_backbone_is_refused_in_one_line_before_any_file_is_read(
    dsnet, small_root, tmp_path, monkeypatch, name, message
):
    monkeypatch.setattr("benchmarks.grid.corpus_data.extract", lambda *_: pytest.fail("files were read"))
    train = ("train", "--corpus", "synthetic", "--root", small_root, "--out", tmp_path, *SMALL)
    status, _, errors = dsnet(*train, "--backbone", name)
    assert status == 2
    assert len(errors) == 1
    assert message in errors[0]


def test_complexity_counts_any_backbone_without_the_papers_figures(dsnet, folder):
    status, out, _ = dsnet("complexity", "--backbone", f"hf/{folder}", "--max-frames", "32")
    assert status == 0
    assert "| baseline |" in out
    assert "| dsnet    |" in out
    assert "M)" not in out
    assert "G)" not in out


def test_macs_of_other_backbones_are_products_of_convolutions_and_matrices(folder):
    samples = 32 * 160 + 240
    first = (samples - 10) // 5 + 1
    frames = (first - 8) // 4 + 1
    front = 8 * 10 * first + 8 * 8 * 8 * frames + 8 * 16 * frames
    positions = 16 * (16 // 2) * 8 * (frames + 1)  # an even kernel gives a frame more, which the model drops
    layer = 4 * 16 * 16 * frames + 2 * 16 * frames * frames + 2 * 16 * 24 * frames
    found = measure("baseline", EncoderSpec(f"hf/{folder}"), 32)
    assert found.inference_macs == front + positions + 2 * layer + 16 * 64 + 64 * 4


def test_on_the_papers_cnn_both_counts_agree_on_all_but_batch_norms():
    method = create_method("baseline", create_encoder("cnn"), 4).eval()
    channels = (32, 64, 128, 256)
    norms = 3 * 600 * 80 + sum(c * t * f for c, (t, f) in zip(channels, FRAMES, strict=True)) + 64
    assert torch_macs(lambda: method(torch.zeros(1, 3, 600, 80))) == ENCODER + CLASSIFIER - 4 * norms
