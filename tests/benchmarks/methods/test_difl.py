import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from backbones import CNNEncoder
from benchmarks.data.batches import FoldSide
from benchmarks.data.protocols import leave_one_speaker_out
from benchmarks.data.speech_data import SpeechData
from benchmarks.methods import DIFL, create_method, difl
from benchmarks.methods.difl import alignment_weights
from benchmarks.methods.mmd import mean_squared_mmd
from benchmarks.training.checkpoint import load_model
from benchmarks.training.fit import training_step
from dsnet_plugin import ConfigError
from tests.benchmarks.conftest import FRAMES
from tests.benchmarks.methods.steps import (
    SPEAKERS,
    Recording,
    adam_step,
    batch,
    changed,
    gradient,
    make,
    move,
    snapshot,
    train,
)


def test_the_parameters_are_those_of_encoder_classifier_and_both_discriminators():
    method = DIFL(CNNEncoder(), 4, num_speakers=8)
    assert sum(p.numel() for p in method.parameters()) == 1_210_304 + 16_836 + 17_096 + 16_706 == 1_260_942
    assert sum(p.numel() for m in method.inference_modules() for p in m.parameters()) == 1_210_304 + 16_836


def test_it_adapts_to_16_utterances_of_the_test_speaker_beside_a_balanced_batch():
    assert (DIFL.target_rows, DIFL.balanced, DIFL.adapts, DIFL.needs_speakers) == (16, True, True, True)


@pytest.mark.parametrize("weights", ["strong-weak", "weak-strong"])
def test_the_losses_are_those_of_the_formulas(weights):
    method, data = make("difl", weights=weights).eval(), batch(rows=6, target=4)
    output = method(**data, progress=0.3)

    x = method.encoder.mel_norm(torch.cat([data["inputs"], data["target"]]).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    taps = []
    for block in method.encoder.blocks:
        x = block(x)
        taps.append(x.mean((2, 3)))
    taps.append(method.encoder.pool(x.mean(3)))
    h = taps[-1]
    domains = torch.tensor([*data["speakers"].tolist(), 3, 3, 3, 3])
    omega = (1, 1, 0.1, 0.1, 0.1) if weights == "strong-weak" else (0.1, 0.1, 0.1, 1, 1)
    expected = {
        "task": F.cross_entropy(method.classifier(h[:6]), data["labels"]),
        "alignment": sum(w * mean_squared_mmd(g, domains, 4) for w, g in zip(omega, taps, strict=True)),
        "speaker": F.cross_entropy(method.speaker_head(h[:6]), data["speakers"]),
        "domain": F.cross_entropy(method.domain_head(h), (domains == 3).long()),
    }
    assert torch.allclose(output.logits, method.classifier(h[:6]), atol=1e-6)
    assert set(output.losses) == set(expected)
    for name, value in expected.items():
        assert torch.allclose(output.losses[name], value, rtol=1e-4), name
    total = expected["task"] + expected["alignment"] + 0.1 * expected["speaker"] + 0.1 * expected["domain"]
    assert torch.allclose(output.loss, total, rtol=1e-4)


def test_the_domains_are_the_training_speakers_and_the_target(monkeypatch):
    seen = []

    def keep(x, domains, num_domains):
        seen.append((tuple(x.shape), domains.tolist(), num_domains))
        return x.sum() * 0

    monkeypatch.setattr(difl, "mean_squared_mmd", keep)
    make("difl").train()(**batch(rows=6, target=4))
    domains = [0, 1, 2, 0, 1, 2, 3, 3, 3, 3]
    assert seen == [((10, width), domains, SPEAKERS + 1) for width in (32, 64, 128, 256, 256)]


def test_the_first_half_of_the_taps_is_aligned_strongly_or_in_reverse_the_last():
    assert alignment_weights(5, "strong-weak") == [1, 1, 0.1, 0.1, 0.1]
    assert alignment_weights(5, "weak-strong") == [0.1, 0.1, 0.1, 1, 1]
    assert alignment_weights(3, "strong-weak") == [1, 0.1, 0.1]
    assert alignment_weights(1, "strong-weak") == [0.1]
    assert make("difl").omega == [1, 1, 0.1, 0.1, 0.1]


def test_other_weights_are_refused():
    with pytest.raises(ConfigError, match=r"weights='strong'.*'strong-weak', 'weak-strong'"):
        make("difl", weights="strong")


@pytest.mark.parametrize(("head", "loss"), [("speaker_head", "speaker"), ("domain_head", "domain")])
def test_a_step_down_its_gradient_misleads_a_discriminator_through_the_encoder_and_helps_it_by_itself(head, loss):
    data = batch(rows=9, target=6)
    for part, sign in (("encoder", 1), (head, -1)):
        method = make("difl").eval()
        before = method(**data, progress=1.0).losses[loss]
        move(getattr(method, part), -gradient(before, getattr(method, part)), 0.01)
        assert sign * (method(**data, progress=1.0).losses[loss] - before) > 1e-4


def test_the_reversal_follows_the_ramp_and_the_alignment_does_not():
    found = {}
    for progress in (0.0, 0.9):
        method, step = make("difl").eval(), Recording(progress=progress)
        losses = method.training_step(batch(target=4), step)
        assert [groups for _, groups in step.updates] == [[]]  # one update of everything
        assert set(step.watched[0]) == {"task", "alignment", "speaker", "domain"}
        found[progress] = {name: gradient(losses[name], method.encoder).norm() for name in step.watched[0]}
    assert found[0.0]["speaker"] == found[0.0]["domain"] == 0
    assert min(found[0.9].values()) > 1e-4
    assert torch.allclose(found[0.0]["alignment"], found[0.9]["alignment"])


def test_a_step_down_the_alignments_gradient_brings_the_domains_closer():
    method, data = make("difl").eval(), batch(rows=9, target=6)
    before = method(**data).losses["alignment"]
    move(method.encoder, -gradient(before, method.encoder), 0.01)
    assert method(**data).losses["alignment"] < before


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_moves_everything(precision):
    method = make("difl").train()
    before = snapshot(method)
    losses = training_step(method, batch(target=4), adam_step(method, precision=precision))
    # A softmax over time does not feel a bias that is the same at all times.
    assert changed(before, method) >= set(before) - {"encoder.pool.attention.bias"}
    assert set(losses) == {"total", "task", "alignment", "speaker", "domain"}
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())


def test_source_and_target_share_the_batch_statistics_of_the_encoder_and_the_classifier_sees_the_source_alone():
    method, rows = make("difl").train(), []
    for part in (method.encoder, method.classifier, method.speaker_head, method.domain_head):
        part.register_forward_pre_hook(lambda module, arguments: rows.append(len(arguments[0])))
    method(**batch(rows=6, target=4))
    assert rows == [10, 6, 6, 10]


def test_validation_has_the_tasks_loss_alone_and_inference_the_classifiers_logits():
    method, data = make("difl").eval(), batch()
    logits = method(data["inputs"])
    output = method(data["inputs"], data["labels"])
    assert torch.equal(logits, method.classifier(method.encoder(data["inputs"])))
    assert output.losses == {"task": output.loss}
    assert torch.allclose(output.loss, F.cross_entropy(logits, data["labels"]))


def test_a_copy_of_the_method_reads_from_its_own_encoder():
    method = make("difl").eval()
    twin, data = copy.deepcopy(method), batch(target=4)
    expected = method(**data).losses
    for parameter in method.parameters():
        torch.nn.init.zeros_(parameter)
    assert torch.allclose(twin(**data).losses["alignment"], expected["alignment"])


def test_the_config_makes_the_same_method_again():
    method = make("difl", weights="weak-strong")
    twin = create_method("difl", CNNEncoder(), 4, **method.config())
    twin.load_state_dict(method.state_dict())
    assert twin.config() == method.config() == {"num_speakers": 3, "weights": "weak-strong"}


def test_a_batch_holds_the_targets_sound_and_no_label_of_it(small_data):
    fold = leave_one_speaker_out(small_data.utterances)[1]
    side = FoldSide(small_data, fold.train, make("difl", num_speakers=2), target=fold.test)
    torch.manual_seed(0)
    for found in side.epoch(0, batch_size=8):
        assert set(found) == {"inputs", "labels", "speakers", "target"}
        assert len(found["inputs"]) == len(found["labels"]) == 8
        assert found["speakers"].bincount().tolist() == [4, 4]
        assert found["target"].shape == (16, 3, FRAMES, 80)


def test_the_targets_labels_change_nothing_and_its_sound_does(small_data, tmp_path):
    test = leave_one_speaker_out(small_data.utterances)[1].test
    wrong = {"angry": "sad", "sad": "happy", "happy": "neutral", "neutral": "angry"}
    utterances, features = list(small_data.utterances), list(small_data.features)
    for i in test:
        utterances[i] = replace(utterances[i], label=wrong[utterances[i].label])
        features[i] = features[i].flip(1)
    relabelled = SpeechData(utterances, small_data.features, FRAMES, small_data.device)
    resounded = SpeechData(small_data.utterances, features, FRAMES, small_data.device)
    curves, weights = {}, {}
    for name, data in (("plain", small_data), ("relabelled", relabelled), ("resounded", resounded)):
        _, result = train("difl", data, tmp_path / name)
        curves[name], weights[name] = result.curves, (tmp_path / name / "best.safetensors").read_bytes()
    assert curves["relabelled"] == curves["plain"] != curves["resounded"]
    assert weights["relabelled"] == weights["plain"] != weights["resounded"]


def test_it_trains_through_the_loop_and_its_checkpoint_is_the_method(small_data, tmp_path):
    method, result = train("difl", small_data, tmp_path, weights="weak-strong")
    assert len(result.curves) == 2
    for epoch in result.curves:
        losses = epoch.train
        assert set(losses) == {"total", "task", "alignment", "speaker", "domain"}
        expected = losses["task"] + losses["alignment"] + 0.1 * (losses["speaker"] + losses["domain"])
        assert losses["total"] == pytest.approx(expected, rel=1e-4)
        assert set(epoch.validation) == {"total", "task"}
    assert set(result.curves[0].gradient_norms) == {"task", "alignment", "speaker", "domain"}
    model, record = load_model(tmp_path)
    assert model.config() == record.config == method.config()
