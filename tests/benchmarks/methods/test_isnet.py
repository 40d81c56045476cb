"""ISNet: which of its four steps computes, reaches and moves what, and who stands beside whom."""

import copy

import pytest
import torch
import torch.nn.functional as F

from backbones import create_encoder
from benchmarks.data.batches import FoldSide
from benchmarks.methods import ISNet, MethodOutput, Speakers, create_method
from benchmarks.methods.isnet import IndividualReferences
from benchmarks.training.adam import AdamStep, make_adam
from benchmarks.training.device import make_accelerator
from benchmarks.training.fit import training_step
from dsnet_plugin import ConfigError, NeutralReferenceError
from tests.benchmarks.methods.paired_batches import ENCODERS, make_batch, make_encoder, rows_encoded
from tests.benchmarks.methods.steps import Recording, adam_step, changed, snapshot

INDEX = [[0, 1, 2], [3, 4, 5], [0, 1, 2], [6, 6, 6], [3, 4, 5], [7, 8, 7]]
MASK = [True, True, True, True, False, True]
STEPS = [{"encoder", "first_classifier"}, {"neutral_encoder"}, {"standardisation"}, {"classifier"}]


def make(encoder=None, **config):
    torch.manual_seed(1)
    return ISNet(create_encoder("cnn") if encoder is None else encoder, 4, **config)


class Watched(AdamStep):
    """Adam's step, keeping of each update which parts its loss depends on and which parts have moved since the last."""

    def __init__(self, method, accelerator):
        super().__init__(method, make_adam(method, 1e-3), accelerator)
        self.reached, self.asked, self.moved, self.watched = [], [], [], []
        self.before = {name: snapshot(part) for name, part in method.named_children()}

    def update(self, loss, *groups):
        parts = dict(self.method.named_children())
        reached = set()
        for name, part in parts.items():
            found = torch.autograd.grad(loss, list(part.parameters()), retain_graph=True, allow_unused=True)
            reached |= {name} if any(own is not None for own in found) else set()
        self.reached.append(reached)
        groups = [list(group) for group in groups]
        asked = {parameter for group in groups for parameter in group}
        self.asked.append({name for name, part in parts.items() if asked & set(part.parameters())})
        super().update(loss, *groups)
        self.moved.append({name for name, part in parts.items() if changed(self.before[name], part)})
        self.before = {name: snapshot(part) for name, part in parts.items()}

    def watch(self, losses):
        self.watched.append(set(losses))


def benchmark_features(encoder, batch):
    """E_n of each row's references, one pass each: (N, 3, D)."""
    distinct = torch.cat([encoder(batch["neutral"][i : i + 1]) for i in range(len(batch["neutral"]))])
    return torch.stack([torch.stack([distinct[i] for i in row]) for row in batch["neutral_index"].tolist()])


def test_the_parameters_are_those_of_two_encoders_two_classifiers_and_an_attention_block():
    method = make()
    assert sum(p.numel() for p in method.parameters()) == 2_553_160
    assert sum(p.numel() for m in method.inference_modules() for p in m.parameters()) == 1_326_020
    assert sum(p.numel() for p in method.standardisation.parameters()) == 98_880


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_each_step_moves_and_reaches_its_own_modules_alone_their_batch_statistics_included(precision, tmp_path):
    method = make(make_encoder("cnn", tmp_path, precision)).train()
    step = Watched(method, make_accelerator("cpu", precision))
    losses = training_step(method, make_batch(method.encoder, INDEX, MASK), step)
    assert step.moved == STEPS
    assert step.asked == STEPS
    assert step.reached == STEPS
    assert step.watched == [{"first"}]
    assert set(losses) == {"total", "first", "neutral", "across_speakers", "benchmark", "task"}
    assert losses["total"] is losses["task"]
    assert all(part.training for part in method.modules())


def test_a_step_moves_all_of_its_modules():
    method = make().train()
    before = snapshot(method)
    training_step(method, make_batch(method.encoder, INDEX, MASK), adam_step(method))
    # A softmax over time does not feel a bias that is the same at all times.
    still = {name for name, _ in method.named_parameters()} - changed(before, method)
    assert still <= {"encoder.pool.attention.bias", "neutral_encoder.pool.attention.bias"}


def test_the_losses_are_those_of_the_four_formulas():
    method = make().eval()
    batch = make_batch(method.encoder, INDEX, MASK)
    step = Recording()
    losses = method.training_step(batch, step)
    h, n = method.encoder(batch["inputs"]), benchmark_features(method.neutral_encoder, batch)
    kept = torch.tensor(MASK)
    expected = {
        "first": F.cross_entropy(method.first_classifier(h), batch["labels"]),
        "neutral": sum((n[:, i] - n[:, j])[kept].abs().mean() for i, j in ((0, 1), (0, 2), (1, 2))),
        "benchmark": (method.standardisation.estimator(h) - (n[:, 0] + n[:, 1] + n[:, 2]) / 3)[kept].abs().mean(),
        "task": F.cross_entropy(method.classifier(h - method.standardisation.estimator(h)), batch["labels"]),
    }
    for (loss, _), (name, value) in zip(step.updates, expected.items(), strict=True):
        torch.testing.assert_close(loss, value)
        torch.testing.assert_close(losses[name], value)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_each_step_computes_with_what_the_steps_before_it_learned(precision, tmp_path):
    method = make(make_encoder("cnn", tmp_path, precision)).eval()  # no dropout, and batch norms that stay as they are
    before = copy.deepcopy(method)
    batch = make_batch(method.encoder, INDEX, MASK)
    step = AdamStep(method, make_adam(method, 0.02), make_accelerator("cpu", precision))
    losses = training_step(method, batch, step)
    learned = copy.deepcopy(method)
    learned.standardisation.load_state_dict(before.standardisation.state_dict())  # as they are in step 3
    learned.classifier.load_state_dict(before.classifier.state_dict())
    found = recompute(learned, batch, precision)
    torch.testing.assert_close(losses["benchmark"], found["benchmark"])
    assert (losses["benchmark"] - recompute(before, batch, precision)["benchmark"]).abs() > 1e-3
    learned.standardisation.load_state_dict(method.standardisation.state_dict())  # as they are in step 4
    found, stale = recompute(learned, batch, precision), recompute(before, batch, precision)
    torch.testing.assert_close(losses["task"], found["task"])
    for part in ("encoder", "standardisation"):
        partly = copy.deepcopy(learned)
        partly.get_submodule(part).load_state_dict(before.get_submodule(part).state_dict())
        assert (losses["task"] - recompute(partly, batch, precision)["task"]).abs() > 1e-4, part
    for name in ("neutral", "across_speakers"):
        torch.testing.assert_close(losses[name], stale[name])


def recompute(method, batch, precision):
    """The losses with a method's weights, nothing moved."""
    with make_accelerator("cpu", precision).autocast():
        return method.training_step(batch, Recording())


def test_an_utterance_costs_nine_encoder_passes():
    method = make().eval()
    batch = make_batch(method.encoder, [[0, 1, 2]])
    rows = {
        name: rows_encoded(method.get_submodule(name), lambda: method.training_step(batch, Recording()))
        for name in ("encoder", "neutral_encoder")
    }
    assert rows == {"encoder": [1, 1, 1], "neutral_encoder": [3, 3]}
    assert sum(rows["encoder"] + rows["neutral_encoder"]) == 9


def test_a_batch_encodes_each_distinct_reference_once(small_data):
    method = make()
    side = FoldSide(small_data, range(48), method, "error", seed=0)
    batch = side.batch([i for i in range(48) if not small_data.neutral[i]][::3])
    assert batch["neutral_index"].shape == (12, 3)
    rows = rows_encoded(method.neutral_encoder, lambda: method.training_step(batch, Recording()))
    assert rows == [12, 12]  # four speakers' three
    assert rows_encoded(method.encoder, lambda: method.training_step(batch, Recording())) == [12, 12, 12]


def references(names, neutral, missing="error", seed=0, k=3, self_reference=True):
    speakers = Speakers(names, neutral, lambda: pytest.fail("features"), missing, seed)
    return IndividualReferences(speakers, k, self_reference)


@pytest.mark.parametrize("self_reference", [True, False])
def test_a_speakers_three_references_are_drawn_once_and_trained_on(self_reference):
    names, neutral = ["ann"] * 10 + ["bob"] * 10, [True, False] * 10
    drawn = set()
    for seed in range(6):
        found = references(names, neutral, seed=seed, self_reference=self_reference)
        assert found.training_indices(epoch=2) == list(range(20))
        for own in (range(10), range(10, 20)):
            chosen = found.beside(own[1])
            drawn.add(tuple(chosen))
            assert len(set(chosen)) == 3
            assert all(neutral[i] and i in own for i in chosen)
            for i in own:
                expected = [i] * 3 if neutral[i] and self_reference else chosen
                assert found.beside(i, epoch=0) == found.beside(i, epoch=4) == expected
    assert len(drawn) > 2


def test_beside_a_neutral_utterance_a_batch_has_that_utterance_thrice(small_data):
    indices = list(range(47, -1, -1))  # places are not indices
    side = FoldSide(small_data, indices, make(), "error", seed=1)
    batch = side.batch(range(12))
    for row in range(12):
        rows = batch["neutral"][batch["neutral_index"][row]]
        if small_data.neutral[indices[row]]:
            assert all(torch.equal(own, batch["inputs"][row]) for own in rows)
        else:
            assert len({tuple(own.flatten().tolist()) for own in rows}) == 3
    assert len(batch["neutral"]) == 3  # the speaker's three, as which the neutral utterances stand beside themselves
    other = FoldSide(small_data, indices, make(self_reference=False), "error", seed=1).batch(range(12))
    assert (other["neutral_index"] == other["neutral_index"][0]).all()


def test_a_speaker_with_fewer_than_three_repeats_them_in_turn():
    found = references(["ann", "ann", "ann", "bob", "bob"], [True, True, False, True, False])
    assert found.beside(2) == [0, 1, 0]
    assert found.beside(4) == [3, 3, 3]
    batch = found.batch([2, 4, 1])
    assert batch.references.tolist() == [0, 1, 3]
    assert batch.neutral_index.tolist() == [[0, 1, 0], [2, 2, 2], [1, 1, 1]]


def test_speakers_without_neutral_speech_are_refused_dropped_or_masked():
    names, neutral = ["ann", "bob", "bob", "eve"], [True, False, False, True]
    with pytest.raises(NeutralReferenceError, match="bob"):
        references(names, neutral)
    assert references(names, neutral, "drop").training_indices() == [0, 3]
    masked = references(names, neutral, "mask")
    assert masked.training_indices() == [0, 1, 2, 3]
    assert masked.batch([0, 1]).neutral_mask.tolist() == [True, False]
    assert masked.batch([0, 1]).neutral_index.tolist() == [[0] * 3] * 2


def test_a_batch_without_neutral_speech_has_no_second_and_third_step():
    method = make().train()
    batch = make_batch(method.encoder, INDEX, [False] * 6)
    del batch["neutral"], batch["neutral_index"]
    step = Watched(method, make_accelerator("cpu", "fp32"))
    losses = training_step(method, batch, step)
    assert set(losses) == {"total", "first", "task"}
    assert step.moved == [STEPS[0], STEPS[3]]


def test_masked_rows_have_losses_of_zero_that_are_still_differentiable():
    method, step = make().eval(), Recording()
    losses = method.training_step(make_batch(method.encoder, INDEX, [False] * 6), step)
    assert losses["neutral"] == losses["benchmark"] == 0
    for (loss, _), part in zip(step.updates[1:3], ("neutral_encoder", "standardisation"), strict=True):
        found = torch.autograd.grad(loss, list(method.get_submodule(part).parameters()), retain_graph=True)
        assert all((own == 0).all() for own in found)


def test_the_distance_across_speakers_is_that_of_references_known_to_be_of_different_speakers():
    method = make().eval()
    index = [[0, 1, 2], [3, 4, 5], [0, 1, 2], [6, 6, 6], [7, 8, 9]]
    batch = make_batch(method.encoder, index, [True, True, True, True, False])
    found = method.training_step(batch, Recording())["across_speakers"]
    n = method.neutral_encoder(batch["neutral"])
    # Row 3 is a neutral utterance beside itself, row 4 has no reference: left are rows 0 and 2 against row 1.
    expected = torch.stack([(n[i] - n[j]).abs().mean() for i in range(3) for j in range(3, 6)]).mean()
    torch.testing.assert_close(found, expected)
    assert not found.requires_grad


def test_the_distance_across_speakers_shows_a_neutral_encoder_that_is_constant():
    method = make().eval()
    before = method.training_step(make_batch(method.encoder, INDEX), Recording())
    torch.nn.init.zeros_(method.neutral_encoder.pool.value.weight)
    after = method.training_step(make_batch(method.encoder, INDEX), Recording())
    assert before["across_speakers"] > 1e-3
    assert after["across_speakers"] < 1e-6
    assert after["neutral"] < 1e-6


@pytest.mark.parametrize("index", [[[0, 1, 2]] * 4, [[0, 1, 2], [0, 1, 2], [3, 3, 3], [4, 4, 4]]])
def test_in_a_batch_of_one_speaker_the_distance_across_speakers_is_zero(index):
    method = make().eval()
    assert method.training_step(make_batch(method.encoder, index), Recording())["across_speakers"] == 0


def test_the_neutral_encoder_has_weights_of_its_own():
    method = make()
    own, other = (encoder.blocks[3][0].weight.flatten() for encoder in (method.encoder, method.neutral_encoder))
    assert torch.corrcoef(torch.stack([own, other]))[0, 1].abs() < 0.1


def test_inference_needs_no_neutral_speech(small_data):
    method = make().eval()
    batch = FoldSide(small_data, range(12), method, seed=0).unlabelled([1, 2])
    assert set(batch) == {"inputs"}
    h = method.encoder(batch["inputs"])
    expected = method.classifier(h - method.standardisation.estimator(h))
    torch.testing.assert_close(method(**batch), expected)
    torch.testing.assert_close(torch.nn.Sequential(*method.inference_modules())(batch["inputs"]), expected)
    found = method.spaces(**batch)
    torch.testing.assert_close(found["h"], h)
    torch.testing.assert_close(found["h_standardised"], h - method.standardisation.estimator(h))
    assert not ISNet.adapts


def test_validation_has_the_loss_of_the_final_classifier(small_data):
    method = make().eval()
    batch = FoldSide(small_data, range(12), method, seed=0).batch(range(12))
    assert "neutral" in batch
    output = method(**batch)
    assert isinstance(output, MethodOutput)
    torch.testing.assert_close(output.logits, method(batch["inputs"]))
    torch.testing.assert_close(output.loss, F.cross_entropy(output.logits, batch["labels"]))
    assert set(output.losses) == {"task"}
    assert output.losses["task"] is output.loss


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_it_trains_on_any_encoder_in_either_precision(encoder, precision, tmp_path):
    method = make(make_encoder(encoder, tmp_path, precision)).train()
    step, batch = adam_step(method, precision=precision, learning_rate=3e-3), make_batch(method.encoder, INDEX, MASK)
    before = snapshot(method)
    losses = [training_step(method, batch, step) for _ in range(12)]
    moved = [name for name, _ in method.named_parameters() if name in changed(before, method)]
    assert len(moved) > 0.9 * len(list(method.parameters()))
    for name in ("first", "neutral", "task"):  # the benchmark follows encoders that move
        assert sum(own[name] for own in losses[-4:]) < sum(own[name] for own in losses[:4]), name
    assert all(value.isfinite().all() for value in method.state_dict().values())


def test_gradients_are_not_clipped():
    assert ISNet.clip_norm is None


def test_more_or_fewer_references_are_compared_in_pairs_and_one_is_refused():
    method = make(references=2).eval()
    batch = make_batch(method.encoder, [[0, 1], [2, 3]])
    n = method.neutral_encoder(batch["neutral"])
    expected = ((n[0] - n[1]).abs().mean() + (n[2] - n[3]).abs().mean()) / 2
    torch.testing.assert_close(method.training_step(batch, Recording())["neutral"], expected)
    with pytest.raises(ConfigError, match="references=1: expected at least 2"):
        make(references=1)


def test_a_model_is_built_again_from_its_config():
    method = create_method("isnet", create_encoder("cnn"), 4, references=2, self_reference=False)
    assert method.config() == {"references": 2, "self_reference": False}
    again = create_method("isnet", create_encoder("cnn"), 4, **method.config())
    again.load_state_dict(method.state_dict())
    assert again.config() == method.config()
