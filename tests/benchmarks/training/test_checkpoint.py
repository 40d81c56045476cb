from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save_file

from backbones import create_encoder
from benchmarks.data import PAPERS_CNN
from benchmarks.methods import create_method
from benchmarks.output.files import read_tensors, write_tensors
from benchmarks.training.checkpoint import ModelRecord, TrainingState, load_model, load_state, save_model, save_state
from benchmarks.training.identity import CorpusIdentity, TrainingIdentity
from benchmarks.training.settings import TrainingSettings
from dsnet_plugin import CheckpointError

CLASSES = ["angry", "happy", "neutral", "sad"]
RECORD = ModelRecord("baseline", {}, PAPERS_CNN, CLASSES, 32)
CORPUS = CorpusIdentity("small", "synthetic", 48, "0" * 16)
STATE = TrainingState(TrainingIdentity(CORPUS, "baseline", {}, "loso", 0, TrainingSettings()), [], 1.5, {})


def model(name="baseline"):
    return create_method(name, create_encoder("cnn"), 4)


def test_a_model_comes_back_with_its_record_and_its_batch_norm_statistics(tmp_path):
    method = model("dsnet").train()
    for _ in range(3):
        method(torch.randn(4, 3, 32, 80))
    save_model(tmp_path / "best.safetensors", method, replace(RECORD, method="dsnet", config=method.config()))
    loaded, record = load_model(tmp_path)
    assert record.max_frames == 32
    inputs = torch.randn(2, 3, 32, 80)
    assert torch.equal(loaded(inputs), method.eval()(inputs))


def test_a_state_continues_exactly_where_it_was_saved(tmp_path):
    def step(method, optimizer):
        optimizer.zero_grad()
        method(inputs, labels=torch.tensor([0, 1, 2, 3])).loss.backward()
        optimizer.step()

    torch.manual_seed(0)
    inputs = torch.randn(4, 3, 32, 80)
    method = model().eval()  # no dropout, so that both continue alike
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-3)
    step(method, optimizer)
    save_state(tmp_path / "state.safetensors", method, optimizer, STATE)
    other = model().eval()
    other_optimizer = torch.optim.Adam(other.parameters(), lr=0.5)
    assert load_state(tmp_path / "state.safetensors", other, other_optimizer) == STATE
    step(method, optimizer)
    step(other, other_optimizer)
    for name, value in method.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def cut(path):
    path.write_bytes(path.read_bytes()[:1000])


def text(path):
    path.write_text("not a checkpoint")


def foreign(path):
    save_file({"weight": torch.zeros(2)}, path)


def unreadable_record(path):
    save_file({"weight": torch.zeros(2)}, path, metadata={"dsnet": "{"})


def state(path):
    save_state(path, model(), torch.optim.Adam(model().parameters()), STATE)


def other_model(path):
    save_model(path, model("dsnet"), RECORD)  # says baseline


def other_shape(path):
    save_model(path, create_method("baseline", create_encoder("cnn"), 7), RECORD)


def other_method(path):
    write_tensors(
        path, {}, {"format": 2, "kind": "model", **asdict(RECORD), "encoder": {"name": "transformer", "options": {}}}
    )


def unrecorded(path):
    write_tensors(path, {}, {"format": 2, "kind": "model"})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (cut, "damaged"),
        (text, "damaged or not a safetensors file"),
        (foreign, r"best.safetensors was not written by dsnet train"),
        (unreadable_record, r"damaged or not a safetensors file \(Expecting"),
        (state, "holds a state .* expected a model"),
        (other_model, r"belongs to another Baseline: 9 missing \(classifier.0.bias, .*25 surplus \(head"),
        (other_shape, r"2 of another shape \(classifier.4.weight \(7, 64\) for \(4, 64\)"),
        (other_method, "unknown encoder 'transformer'"),
        (unrecorded, "lacks .*method"),
    ],
)
def test_what_is_no_model_of_ours_is_refused_with_the_reason(tmp_path, spoil, message):
    path = tmp_path / "best.safetensors"
    save_model(path, model(), RECORD)
    spoil(path)
    with pytest.raises(CheckpointError, match=message) as error:
        load_model(path)
    assert str(error.value).startswith(str(path))
    assert str(error.value).count(str(path)) == 1


def test_a_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"no file .*best.safetensors"):
        load_model(tmp_path)


def test_a_path_into_a_run_that_has_no_such_model_names_some_that_it_has(tmp_path):
    run = tmp_path / "run"
    for fold in ("fold-00", "fold-01"):
        (run / "small/cnn/dsnet/seed-0" / fold).mkdir(parents=True)
        (run / "small/cnn/dsnet/seed-0" / fold / "best.safetensors").touch()
    (run / "cells.jsonl").touch()
    with pytest.raises(CheckpointError) as error:
        load_model(run / "small/timm/dsnet/seed-0/fold-00")
    first, second = sorted(run.rglob("fold-*"))
    assert str(error.value).endswith(f"fold-00; the same run has {first}, {second}")


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "best.safetensors"
    save_model(path, model(), RECORD)
    before = path.read_bytes()
    monkeypatch.setattr(
        "pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    with pytest.raises(OSError, match="No space left"):
        save_model(path, model(), RECORD)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["best.safetensors"]


def test_tensors_and_record_come_back_together(tmp_path):
    write_tensors(tmp_path / "a", {"x": torch.arange(6).reshape(2, 3).T}, {"list": [1, 2.5, None]})
    tensors, record = read_tensors(tmp_path / "a")
    assert torch.equal(tensors["x"], torch.arange(6).reshape(2, 3).T)
    assert record == {"list": [1, 2.5, None]}


def test_a_model_is_built_again_with_the_config_it_was_trained_with(tmp_path):
    method = create_method("dsnet", create_encoder("cnn"), 4, bottleneck=16, alpha=0.5)
    save_model(tmp_path / "best.safetensors", method, replace(RECORD, method="dsnet", config=method.config()))
    loaded, _ = load_model(tmp_path)
    assert loaded.head.config == method.head.config
    assert loaded.head.p_er.attention[0].out_features == 16
