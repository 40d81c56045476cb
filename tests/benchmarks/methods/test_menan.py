import math

import pytest
import torch
from torch import nn

from backbones import CNNEncoder
from benchmarks.methods import MethodOutput, create_method
from benchmarks.methods.menan import MEnAN, mean_entropy
from benchmarks.training.checkpoint import load_model
from benchmarks.training.fit import training_step
from dsnet_plugin import ConfigError
from tests.benchmarks.methods.steps import Recording, adam_step, batch, changed, gradient, make, snapshot, train


def test_the_parameters_are_those_of_table_3s_arithmetic():
    method = MEnAN(CNNEncoder(), 4, num_speakers=8)
    assert sum(p.numel() for p in method.parameters()) == 1_210_304 + 16_836 + 17_096 == 1_244_236
    assert sum(p.numel() for m in method.inference_modules() for p in m.parameters()) == 1_210_304 + 16_836


def test_an_epoch_has_a_speaker_pass_and_then_an_encoder_pass_or_one_of_both():
    assert make("menan").phases == ("speaker", "encoder")
    assert make("menan", alternate="batch").phases == ("both",)


def test_the_speaker_pass_moves_the_speaker_classifier_alone():
    method = make("menan").train()
    parts = {name: (part, snapshot(part)) for name, part in method.named_children()}
    losses = training_step(method, batch(), adam_step(method, "speaker"))
    moved = {name: changed(before, part) for name, (part, before) in parts.items()}
    assert moved["encoder"] == moved["classifier"] == set()  # batch statistics included
    assert moved["speaker_classifier"] == set(method.speaker_classifier.state_dict())
    assert set(losses) == {"speaker"}


def test_the_encoder_pass_moves_encoder_and_classifier_and_nothing_of_the_speaker_classifier():
    method = make("menan").train()
    parts = {name: (part, snapshot(part)) for name, part in method.named_children()}
    losses = training_step(method, batch(), adam_step(method, "encoder"))
    moved = {name: changed(before, part) for name, (part, before) in parts.items()}
    assert moved["speaker_classifier"] == set()  # batch statistics included
    # A softmax over time does not feel a bias that is the same at all times.
    assert moved["encoder"] >= set(method.encoder.state_dict()) - {"pool.attention.bias"}
    assert moved["classifier"] == set(method.classifier.state_dict())
    assert set(losses) == {"total", "task", "entropy"}


def test_the_speaker_pass_computes_no_gradient_of_the_encoder():
    method, step = make("menan").train(), Recording("speaker")
    method.training_step(batch(), step)
    ((loss, groups),) = step.updates
    assert gradient(loss, method.encoder).abs().max() == 0
    assert gradient(loss, method.speaker_classifier).norm() > 0
    assert [set(group) for group in groups] == [set(method.speaker_classifier.parameters())]


def test_the_entropy_reaches_the_encoder_and_is_subtracted_with_its_weight():
    method, data, step = make("menan", entropy_weight=0.3).double().train(), batch(), Recording("encoder")
    losses = method.training_step({**data, "inputs": data["inputs"].double()}, step)
    ((loss, groups),) = step.updates
    of_task, of_entropy = (gradient(losses[name], method.encoder) for name in ("task", "entropy"))
    difference = of_task - gradient(loss, method.encoder)
    assert of_entropy.norm() > 0.01
    assert (difference - 0.3 * of_entropy).norm() < 1e-3 * of_entropy.norm()
    assert [set(group) for group in groups] == [
        set(method.encoder.parameters()),
        set(method.classifier.parameters()),
    ]  # clipped each by itself
    assert [set(watched) for watched in step.watched] == [{"task", "entropy"}]


def test_the_losses_are_those_of_the_formulas():
    method, data = make("menan").eval(), batch()
    v = method.encoder(data["inputs"])
    p = method.speaker_classifier(v).softmax(1)
    speaker = -p[torch.arange(6), data["speakers"]].log().mean()
    task = -method.classifier(v).softmax(1)[torch.arange(6), data["labels"]].log().mean()
    entropy = -(p * p.log()).sum() / 6
    found = method.training_step(data, Recording("speaker")) | method.training_step(data, Recording("encoder"))
    assert torch.allclose(found["speaker"], speaker)
    assert torch.allclose(found["task"], task)
    assert torch.allclose(found["entropy"], entropy)
    assert torch.allclose(found["total"], task - 0.5 * entropy)


def test_with_the_speaker_classifier_held_the_entropy_rises():
    method, data = make("menan", entropy_weight=100.0).train(), batch(rows=12)
    for module in method.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the statistics of all batches alike
    with torch.no_grad():
        method.encoder(data["inputs"])
    speaker = adam_step(method, "speaker", learning_rate=3e-3)
    for _ in range(30):
        loss = training_step(method, data, speaker)["speaker"]
    assert loss < 0.1
    before = snapshot(method.speaker_classifier)
    encoder = adam_step(method, "encoder", learning_rate=1e-4)
    entropies = [training_step(method, data, encoder)["entropy"].item() for _ in range(10)]
    assert changed(before, method.speaker_classifier) == set()
    assert entropies[0] < 0.8
    assert entropies[-1] > 1.05  # log 3 is 1.099


@pytest.mark.parametrize("alternate", ["epoch", "batch"])
def test_what_is_held_is_in_eval_mode_and_then_in_the_mode_it_was_in(alternate):
    method = make("menan", alternate=alternate).train()
    seen = []
    for name in ("encoder", "classifier", "speaker_classifier"):
        part = getattr(method, name)
        part.register_forward_hook(lambda module, i, o, name=name: seen.append((name, module.training)))
    for phase in method.phases:
        method.training_step(batch(), Recording(phase))
        assert all(module.training for module in method.modules())
    speaker_pass = [("encoder", False), ("speaker_classifier", True)]
    assert seen == [*speaker_pass, ("encoder", True), ("classifier", True), ("speaker_classifier", False)]


def test_a_method_in_eval_mode_stays_so_and_keeps_its_statistics():
    method = make("menan", alternate="batch").eval()
    before = snapshot(method)
    method.training_step(batch(rows=1), Recording("both"))
    assert not any(module.training for module in method.modules())
    assert changed(before, method) == set()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_both_passes_on_a_batch_are_the_one_and_then_the_other(precision):
    """In half precision, too, the encoder pass sees the speaker classifier as the speaker pass left it."""
    found = []
    for phases in (("both",), ("speaker", "encoder")):
        method = make("menan").train()
        step = adam_step(method, precision=precision, learning_rate=0.1)
        data, losses = batch(), {}
        for step.phase in phases:
            losses |= training_step(method, data, step)
        found.append((losses, snapshot(method)))
    (both, weights), (apart, expected) = found
    assert {name: value.item() for name, value in both.items()} == {name: value.item() for name, value in apart.items()}
    assert all(torch.equal(weights[name], value) for name, value in expected.items())


def test_the_entropy_is_in_nats_between_that_of_certainty_and_that_of_chance():
    assert mean_entropy(torch.zeros(3, 8)) == pytest.approx(math.log(8))
    assert mean_entropy(torch.eye(8) * 1e4) == 0
    logits = torch.randn(5, 4)
    p = logits.softmax(1).tolist()
    by_hand = -sum(q * math.log(q) for row in p for q in row) / 5
    assert mean_entropy(logits) == pytest.approx(by_hand, rel=1e-5)
    assert mean_entropy(logits.bfloat16()).dtype == torch.float32


def test_validation_has_the_tasks_loss_alone_and_inference_the_classifiers_logits():
    method, data = make("menan").eval(), batch()
    logits = method(data["inputs"])
    output = method(data["inputs"], data["labels"])
    assert torch.equal(logits, method.classifier(method.encoder(data["inputs"])))
    assert isinstance(output, MethodOutput)
    assert output.losses == {"task": output.loss}
    assert torch.allclose(output.loss, nn.functional.cross_entropy(logits, data["labels"]))


def test_the_config_makes_the_same_method_again():
    method = make("menan", entropy_weight=0.25, alternate="batch")
    twin = create_method("menan", CNNEncoder(), 4, **method.config())
    twin.load_state_dict(method.state_dict())
    assert twin.config() == method.config() == {"num_speakers": 3, "entropy_weight": 0.25, "alternate": "batch"}
    assert make("menan").config() == {"num_speakers": 3, "entropy_weight": 0.5, "alternate": "epoch"}


def test_another_way_to_alternate_is_refused():
    with pytest.raises(ConfigError, match=r"alternate='step'.*'epoch', 'batch'"):
        make("menan", alternate="step")


@pytest.mark.parametrize("alternate", ["epoch", "batch"])
def test_it_trains_through_the_loop_and_its_checkpoint_is_the_method(small_data, tmp_path, alternate):
    method, result = train("menan", small_data, tmp_path, alternate=alternate)
    assert len(result.curves) == 2
    for epoch in result.curves:
        losses = epoch.train
        assert set(losses) == {"speaker", "total", "task", "entropy"}
        assert losses["total"] == pytest.approx(losses["task"] - 0.5 * losses["entropy"], rel=1e-4)
        assert set(epoch.validation) == {"total", "task"}
    assert set(result.curves[0].gradient_norms) == {"task", "entropy"}
    model, record = load_model(tmp_path)
    assert model.config() == record.config == method.config()
