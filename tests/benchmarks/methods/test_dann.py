import pytest
import torch
import torch.nn.functional as F

from backbones import CNNEncoder
from benchmarks.methods import DANN, create_method
from benchmarks.methods.gradient_reversal import reversal_strength
from benchmarks.training.checkpoint import load_model
from benchmarks.training.fit import training_step
from tests.benchmarks.methods.steps import Recording, adam_step, batch, changed, gradient, make, move, snapshot, train


def test_the_parameters_are_those_of_encoder_classifier_and_speaker_classifier():
    method = DANN(CNNEncoder(), 4, num_speakers=8)
    assert sum(p.numel() for p in method.parameters()) == 1_210_304 + 16_836 + 17_096
    assert sum(p.numel() for m in method.inference_modules() for p in m.parameters()) == 1_210_304 + 16_836


def test_the_losses_are_those_of_the_formulas():
    method, data = make("dann").eval(), batch()
    h = method.encoder(data["inputs"])
    output = method(**data, progress=0.3)
    task = F.cross_entropy(method.classifier(h), data["labels"])
    speaker = F.cross_entropy(method.speaker_head(h), data["speakers"])
    assert torch.allclose(output.logits, method.classifier(h))
    assert torch.allclose(output.losses["task"], task)
    assert torch.allclose(output.losses["speaker"], speaker)
    assert torch.allclose(output.loss, task + speaker)


def test_a_step_down_its_gradient_misleads_the_speaker_classifier_through_the_encoder_and_helps_it_by_itself():
    data = batch(rows=12)

    def speaker_loss(method):
        return F.cross_entropy(method.speaker_head(method.encoder(data["inputs"])), data["speakers"]).item()

    for part, sign in (("encoder", 1), ("speaker_head", -1)):
        method = make("dann").eval()
        before = speaker_loss(method)
        found = gradient(method(**data, progress=1.0).losses["speaker"], getattr(method, part))
        move(getattr(method, part), -found, 0.01)
        assert sign * (speaker_loss(method) - before) > 1e-4


def test_the_speakers_gradient_on_the_encoder_follows_the_ramp_over_the_training():
    found = {}
    for progress in (0.0, 0.1, 0.9):
        method, step = make("dann").double().eval(), Recording(progress=progress)
        data = batch()
        losses = method.training_step({**data, "inputs": data["inputs"].double()}, step)
        ((loss, groups),) = step.updates
        assert groups == []  # one update of everything
        assert losses["total"] is loss
        assert set(step.watched[0]) == {"task", "speaker"}
        found[progress] = gradient(losses["speaker"], method.encoder)
        total = gradient(losses["task"], method.encoder) + found[progress]
        assert torch.allclose(gradient(loss, method.encoder), total, atol=1e-6)
    assert found[0.0].abs().max() == 0
    ratio = reversal_strength(0.1) / reversal_strength(0.9)
    assert torch.allclose(found[0.1], ratio * found[0.9], atol=1e-9)
    assert found[0.9].norm() > 1e-3


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_moves_everything(precision):
    method = make("dann").train()
    before = snapshot(method)
    losses = training_step(method, batch(), adam_step(method, precision=precision))
    # A softmax over time does not feel a bias that is the same at all times.
    assert changed(before, method) >= set(before) - {"encoder.pool.attention.bias"}
    assert set(losses) == {"total", "task", "speaker"}
    assert all(loss.dtype == torch.float32 for loss in losses.values())


def test_validation_has_the_tasks_loss_alone_and_inference_the_classifiers_logits():
    method, data = make("dann").eval(), batch()
    output = method(data["inputs"], data["labels"])
    assert output.losses == {"task": output.loss}
    assert torch.equal(method(data["inputs"]), output.logits)


def test_the_config_makes_the_same_method_again():
    method = make("dann")
    twin = create_method("dann", CNNEncoder(), 4, **method.config())
    twin.load_state_dict(method.state_dict())
    assert twin.config() == method.config() == {"num_speakers": 3}


def test_it_trains_through_the_loop_and_its_checkpoint_is_the_method(small_data, tmp_path):
    method, result = train("dann", small_data, tmp_path)
    assert len(result.curves) == 2
    for epoch in result.curves:
        losses = epoch.train
        assert set(losses) == {"total", "task", "speaker"}
        assert losses["total"] == pytest.approx(losses["task"] + losses["speaker"], rel=1e-4)
        assert set(epoch.validation) == {"total", "task"}
    assert set(result.curves[0].gradient_norms) == {"task", "speaker"}
    model, record = load_model(tmp_path)
    assert model.config() == record.config == method.config()
