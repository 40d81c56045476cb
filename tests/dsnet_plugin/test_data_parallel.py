"""A wrapped model under ``DataParallel``, which a stock Trainer puts around it where one process sees several GPUs."""

import pytest
import torch
import transformers
from torch import nn
from torch.nn.parallel import scatter_gather

from dsnet_plugin import DisentangleConfig, NeutralCollator, WrapError, wrap
from tests.dsnet_plugin.data_parallel import Concatenation, Dealing, TwoReplicas
from tests.dsnet_plugin.speech_rows import CLASSES, bare, extractor, rows

STILL = DisentangleConfig(dropout=0.0)


@pytest.fixture
def two_devices(monkeypatch):
    monkeypatch.setattr(nn, "DataParallel", TwoReplicas)
    monkeypatch.setattr("torch.nn.parallel._functions.Gather", Concatenation)
    monkeypatch.setattr("torch.nn.parallel._functions.Scatter", Dealing)
    monkeypatch.setattr(scatter_gather, "Gather", Concatenation)
    monkeypatch.setattr(scatter_gather, "Scatter", Dealing)


def trainer(folder, model, collator, **settings):
    arguments = {"num_train_epochs": 3, "use_cpu": True, "learning_rate": 1e-2, "report_to": "none"}
    arguments |= {"per_device_train_batch_size": 4, "per_device_eval_batch_size": 3, "disable_tqdm": True}
    arguments |= {"save_strategy": "no", "dataloader_pin_memory": False, "logging_strategy": "epoch"}
    arguments = transformers.TrainingArguments(output_dir=str(folder), **(arguments | settings))
    arguments._setup_devices  # noqa: B018  # asks for the devices, of which the next line tells a second
    arguments._n_gpu = 2
    return transformers.Trainer(
        model=model, args=arguments, train_dataset=rows(16), eval_dataset=rows(6, seed=1), data_collator=collator
    )


def test_a_stock_trainer_learns_under_data_parallel_and_evaluates_the_whole_objective(tmp_path, two_devices):
    model = wrap(bare(), config=STILL)
    before = {name: value.clone() for name, value in model.named_parameters()}
    made = trainer(tmp_path, model, NeutralCollator(extractor(), one_a_row=True))
    made.train()
    assert isinstance(made.model_wrapped, TwoReplicas)
    losses = [entry["loss"] for entry in made.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]
    projections = [
        name for name in before if name.endswith("projection.weight")
    ]  # an attention of so few units can be dead
    assert len(projections) == 3
    assert not any(torch.equal(model.get_parameter(name), before[name]) for name in projections)

    prediction = made.predict(rows(6, seed=1))
    assert prediction.predictions.shape == (6, CLASSES)
    shares = [NeutralCollator(extractor())(rows(6, seed=1)[i : i + 3]) for i in (0, 3)]
    with torch.no_grad():
        alone = [model.eval()(**share) for share in shares]
    torch.testing.assert_close(torch.from_numpy(prediction.predictions), torch.cat([one.logits for one in alone]))
    mean = float(sum(one.loss for one in alone)) / 2
    assert prediction.metrics["test_loss"] == pytest.approx(mean, rel=1e-5)


def test_a_collator_that_shares_references_is_refused_before_anything_is_learnt(tmp_path, two_devices):
    model = wrap(bare())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(
        Exception, match=r"give one reference a row of the batch, NeutralCollator\(extractor, one_a_row=True\)"
    ):
        trainer(tmp_path, model, NeutralCollator(extractor())).train()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_plain_models_whole_objective_is_gathered(two_devices):
    torch.manual_seed(0)
    model = wrap(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, CLASSES)), num_classes=CLASSES, config=STILL)
    x, x_n, y = torch.randn(4, 6), torch.randn(4, 6), torch.tensor([0, 1, 1, 0])
    model(x)  # confirms the place
    output = nn.DataParallel(model)(x, labels=y, neutral=x_n)
    halves = [model(x[i : i + 2], labels=y[i : i + 2], neutral=x_n[i : i + 2]) for i in (0, 2)]
    torch.testing.assert_close(output.loss, torch.stack([half.loss for half in halves]))
    torch.testing.assert_close(output.z_er, torch.cat([half.z_er for half in halves]))


def test_an_enrolled_speaker_is_not_dealt_out(two_devices):
    torch.manual_seed(0)
    config = DisentangleConfig(reference="difference")
    model = wrap(nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, CLASSES)), head="2", config=config).eval()
    with pytest.raises(WrapError, match="DataParallel would deal out a speaker's numbers"):
        nn.DataParallel(model)(torch.randn(4, 6), enrolled=model.enrol(torch.randn(1, 6)))
