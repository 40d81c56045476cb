"""DSC: the four fusions by hand, who stands beside whom, and that it trains on any encoder."""

import copy

import pytest
import torch
from torch import nn

from backbones import create_encoder
from benchmarks.data.batches import FoldSide
from benchmarks.data.speech_data import SpeechData
from benchmarks.methods import DSC, VARIANTS, MethodOutput, create_method
from benchmarks.methods.base import Speakers
from benchmarks.methods.dsc import ConditioningReferences
from benchmarks.training.fit import training_step
from dsnet_plugin import ConfigError, NeutralReferenceError, ShapeError
from tests.benchmarks.conftest import FRAMES
from tests.benchmarks.methods.paired_batches import (
    ENCODERS,
    NarrowCNN,
    make_batch,
    make_encoder,
    random_inputs,
    rows_encoded,
)
from tests.benchmarks.methods.steps import adam_step

FUSIONS = ["add", "sub", "gate", "multistage"]
INDEX = [0, 1, 0, 2, 1, 0]


def make(fusion="add", encoder=None):
    torch.manual_seed(1)
    return DSC(create_encoder("cnn") if encoder is None else encoder, 4, fusion)


def conditioned_by_hand(encoder, x, conditions, e):
    """The paper's encoder with relu(Linear_l(e)) after block l."""
    x = encoder.mel_norm(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    for block, linear in zip(encoder.blocks, conditions, strict=True):
        shift = (e @ linear.weight.T + linear.bias).clamp(min=0)
        x = block(x) + shift[:, :, None, None]
    return encoder.pool(x.mean(3))


@pytest.mark.parametrize(("fusion", "parameters"), [*[(f, 2_437_444) for f in FUSIONS[:3]], ("multistage", 2_560_804)])
def test_the_parameters_are_those_of_two_encoders_a_classifier_and_the_conditions(fusion, parameters):
    assert sum(p.numel() for p in make(fusion).parameters()) == parameters


@pytest.mark.parametrize("fusion", FUSIONS)
def test_features_are_fused_as_the_formula_says_and_classified(fusion):
    method = make(fusion).eval()
    batch = make_batch(method.encoder, INDEX)
    labels = batch.pop("labels")
    e = torch.stack([method.auxiliary(batch["neutral"][i : i + 1])[0] for i in INDEX])
    h = method.encoder(batch["inputs"])
    expected = {
        "add": lambda: h + e,
        "sub": lambda: h - e,
        "gate": lambda: h + e.exp() / e.exp().sum(1, keepdim=True) * h,
        "multistage": lambda: conditioned_by_hand(method.encoder, batch["inputs"], method.conditions, e),
    }[fusion]()
    found = method.spaces(**batch)
    assert list(found) == ["h"]
    torch.testing.assert_close(found["h"], expected)
    assert not torch.allclose(expected, h, rtol=1e-3)
    logits = method.classifier(expected)
    torch.testing.assert_close(method(**batch), logits)
    output = method(labels=labels, **batch)
    assert isinstance(output, MethodOutput)
    torch.testing.assert_close(output.logits, logits)
    torch.testing.assert_close(output.loss, -logits.log_softmax(1)[range(6), labels].mean())
    assert list(output.losses) == ["task"]


@pytest.mark.parametrize("fusion", FUSIONS)
def test_rows_without_a_reference_fall_back_to_the_encoder_alone(fusion):
    method = make(fusion).eval()
    batch = make_batch(method.encoder, INDEX, mask=[True, False, True, True, False, True])
    del batch["labels"]
    alone = method.encoder(batch["inputs"])
    masked = method.spaces(**batch)["h"]
    every = method.spaces(**{**batch, "neutral_mask": None})["h"]
    torch.testing.assert_close(masked[[1, 4]], alone[[1, 4]])
    torch.testing.assert_close(masked[[0, 2, 3, 5]], every[[0, 2, 3, 5]])
    assert (every[[1, 4]] != alone[[1, 4]]).any()
    without = {"inputs": batch["inputs"], "neutral_mask": torch.zeros(6, dtype=torch.bool)}
    torch.testing.assert_close(method.spaces(**without)["h"], alone)
    torch.testing.assert_close(method(**without), method.classifier(alone))


def test_one_reference_a_row_needs_no_index():
    method = make().eval()
    x, n = random_inputs(method.encoder, 3, 0), random_inputs(method.encoder, 3, 1)
    torch.testing.assert_close(method.spaces(x, neutral=n)["h"], method.encoder(x) + method.auxiliary(n))


def test_inference_needs_the_reference(small_data):
    method = make().eval()
    batch = FoldSide(small_data, range(12), method, seed=0).unlabelled([1, 2])
    assert {"neutral", "neutral_index", "neutral_mask"} <= batch.keys()
    other = {**batch, "neutral": batch["neutral"] + torch.randn_like(batch["neutral"])}
    assert (method(**batch) != method(**other)).any()
    assert DSC.adapts


def test_a_batch_encodes_each_distinct_reference_once(small_data):
    method = make()
    side = FoldSide(small_data, range(48), method, "error", seed=0)
    batch = side.batch([i for i in range(48) if not small_data.neutral[i]][::3])
    assert len(batch["inputs"]) == 12
    assert rows_encoded(method.auxiliary, lambda: method(**batch)) == [4]
    assert rows_encoded(method.encoder, lambda: method(**batch)) == [12]


def references(names, neutral, missing="error", seed=0):
    return ConditioningReferences(Speakers(names, neutral, lambda: pytest.fail("features"), missing, seed))


def test_each_speaker_has_one_fixed_reference_that_its_second_neutral_utterance_stands_beside():
    names, neutral = ["ann"] * 6 + ["bob"] * 6, [True, False, True, True, False, True] * 2
    drawn = set()
    for seed in range(8):
        found = references(names, neutral, seed=seed)
        assert found.training_indices(epoch=3) == list(range(12))
        for own in (range(6), range(6, 12)):
            reference = found.beside(own[1])[0]
            drawn.add(reference)
            assert neutral[reference]
            assert reference in own
            assert all(found.beside(i, epoch) == [reference] for i in own if i != reference for epoch in (0, 5))
            (second,) = found.beside(reference)
            assert second != reference
            assert neutral[second]
            assert second in own
    assert len(drawn) > 2


def test_a_batch_has_the_substitute_where_the_reference_itself_is_x(small_data):
    side = FoldSide(small_data, range(47, -1, -1), make(), "error", seed=1)  # places are not indices
    assert side.training_places(0) == list(range(48))
    batch = side.batch(range(48))
    rows = batch["neutral"][batch["neutral_index"]]
    assert not (rows == batch["inputs"]).flatten(1).all(1).any()
    assert len(batch["neutral"]) == 8  # of each speaker the reference and the one beside it
    first, second = (
        side.data.inputs([i])[0] for i in (small_data_index(side, "spk02", 0), small_data_index(side, "spk02", 1))
    )
    own = [place for place, name in enumerate(side.names) if name == "spk02"]
    used = [next(i for i, n in enumerate((first, second)) if torch.equal(n, rows[place])) for place in own]
    assert sorted(used) == [0] * 11 + [1]


def small_data_index(side, speaker, number):
    """The corpus' index of a speaker's first or second reference."""
    return next(i for i, u in enumerate(side.data.utterances) if u.key == side.reference_keys()[speaker][number])


def test_a_speaker_with_one_neutral_utterance_has_none_beside_it():
    found = references(["ann", "ann", "bob", "bob"], [True, False, True, True])
    batch = found.batch([0, 1, 2])
    assert batch.neutral_mask.tolist() == [False, True, True]
    assert batch.references.tolist() == [0, 3]
    assert batch.neutral_index.tolist() == [0, 0, 1]
    assert found.batch([0]).neutral_index.tolist() == [0]
    assert not len(found.batch([0]).references)


def test_speakers_without_neutral_speech_are_refused_dropped_or_masked():
    names, neutral = ["ann", "bob", "bob", "eve"], [True, False, False, True]
    with pytest.raises(NeutralReferenceError, match="bob"):
        references(names, neutral)
    assert references(names, neutral, "drop").training_indices() == [0, 3]
    masked = references(names, neutral, "mask")
    assert masked.training_indices() == [0, 1, 2, 3]
    assert masked.batch([1, 2]).neutral_mask.tolist() == [False, False]
    assert masked.batch([1, 2]).neutral_index.tolist() == [0, 0]


def test_the_auxiliary_encoder_has_weights_of_its_own():
    method = make()
    own, other = method.encoder.state_dict(), method.auxiliary.state_dict()
    assert {name: value.shape for name, value in own.items()} == {name: value.shape for name, value in other.items()}
    convolutions = [name for name in own if own[name].dim() > 2]
    assert len(convolutions) == 6
    assert all(
        torch.corrcoef(torch.stack([own[n].flatten(), other[n].flatten()]))[0, 1].abs() < 0.1 for n in convolutions
    )
    assert {p.data_ptr() for p in method.encoder.parameters()}.isdisjoint(
        p.data_ptr() for p in method.auxiliary.parameters()
    )


def test_an_auxiliary_encoder_that_is_drawn_anew_forgets_its_batch_statistics():
    encoder = create_encoder("cnn")
    encoder(random_inputs(encoder, 4, 0))
    assert encoder.mel_norm.num_batches_tracked == 1
    fresh = create_encoder("cnn")
    for name, buffer in make(encoder=encoder).auxiliary.named_buffers():
        assert torch.equal(buffer, fresh.get_buffer(name)), name


def test_an_encoder_that_cannot_be_drawn_anew_is_copied(tmp_path):
    method = make(encoder=make_encoder("timm/resnet18", tmp_path))
    own, other = method.encoder.state_dict(), method.auxiliary.state_dict()
    assert all(torch.equal(own[name], other[name]) for name in own)
    assert {p.data_ptr() for p in method.encoder.parameters()}.isdisjoint(
        p.data_ptr() for p in method.auxiliary.parameters()
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_step_moves_every_part_and_steps_lower_the_loss(encoder, fusion, precision, tmp_path):
    method = make(fusion, make_encoder(encoder, tmp_path, precision)).train()
    learning_rate = 1e-2 if isinstance(method.encoder, NarrowCNN) else 3e-3  # few channels learn more slowly
    step, batch = (
        adam_step(method, precision=precision, learning_rate=learning_rate),
        make_batch(method.encoder, INDEX, [True] * 5 + [False]),
    )
    before = copy.deepcopy(method.state_dict())
    losses = [training_step(method, batch, step) for _ in range(16)]
    for part in ("encoder", "auxiliary", "classifier", *(["conditions"] if fusion == "multistage" else [])):
        moved = [not torch.equal(before[f"{part}.{n}"], p) for n, p in method.get_submodule(part).named_parameters()]
        assert sum(moved) / len(moved) > 0.9, part
    assert set(losses[0]) == {"total", "task"}
    assert sum(own["total"] for own in losses[-4:]) < sum(own["total"] for own in losses[:4])
    assert all(p.isfinite().all() for p in method.parameters())


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_stage_is_conditioned_row_by_row(encoder, tmp_path):
    method = make("multistage", make_encoder(encoder, tmp_path)).eval()
    batch = make_batch(method.encoder, INDEX)
    del batch["labels"]
    with torch.no_grad():
        together = method.spaces(**batch)["h"]
        for condition in method.conditions:
            own = copy.deepcopy(condition.state_dict())
            condition.weight.zero_()
            condition.bias.fill_(-1)  # relu leaves nothing of it
            assert (method.spaces(**batch)["h"] != together).any(1).all()
            condition.load_state_dict(own)
        for row, reference in enumerate(INDEX):
            alone = method.spaces(pick(batch["inputs"], row), neutral=pick(batch["neutral"], reference))["h"]
            torch.testing.assert_close(alone, together[row : row + 1], rtol=1e-4, atol=1e-5)


def pick(inputs, row):
    if isinstance(inputs, torch.Tensor):
        return inputs[row : row + 1]
    return inputs["waveform"][row : row + 1, inputs["mask"][row]]


def test_conditions_outlive_no_pass_not_even_one_that_fails():
    method = make("multistage").eval()
    batch = make_batch(method.encoder, INDEX)
    x, n = batch["inputs"], batch["neutral"]
    alone = method.encoder(x)
    assert not torch.equal(method.spaces(x, neutral=n[[0] * 6])["h"], alone)
    assert torch.equal(method.encoder(x), alone)
    with pytest.raises(ShapeError):
        method(x[:, :, :4], neutral=n[[0] * 6])
    assert torch.equal(method(x), method.classifier(alone))


def test_a_copy_of_a_multistage_model_is_conditioned_by_its_own_weights():
    method = make("multistage").eval()
    twin = copy.deepcopy(method)
    batch = make_batch(method.encoder, INDEX)
    assert torch.equal(twin(**batch).logits, method(**batch).logits)
    for condition in method.conditions:
        nn.init.zeros_(condition.weight)
        nn.init.zeros_(condition.bias)
    assert torch.equal(
        method.spaces(batch["inputs"], neutral=batch["neutral"][[0] * 6])["h"], method.encoder(batch["inputs"])
    )
    assert (twin(**batch).logits != method(**batch).logits).any()


def test_a_compiled_encoder_is_conditioned_anew_in_each_pass():
    method = make("multistage").eval()
    twin = copy.deepcopy(method)
    twin.encoder.compile(backend="eager")
    for seed in range(2):
        batch = make_batch(method.encoder, INDEX, seed=10 * seed)
        torch.testing.assert_close(twin(**batch).logits, method(**batch).logits)
    torch.testing.assert_close(twin(batch["inputs"]), method(batch["inputs"]))


class Bare(nn.Module):
    num_features, input_kind = 4, "lmfb"


def test_multistage_on_an_encoder_without_stages_is_refused_and_so_is_an_unknown_fusion():
    with pytest.raises(ConfigError, match=r"multistage.*Bare.*use add, sub or gate"):
        DSC(Bare(), 4, "multistage")
    assert DSC(Bare(), 4, "gate").fusion == "gate"
    with pytest.raises(ConfigError, match="fusion='mul': expected one of 'add'"):
        DSC(Bare(), 4, "mul")


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_model_is_built_again_from_its_name_and_config(fusion):
    name = "dsc" if fusion == "add" else f"dsc-{fusion}"
    assert name in {"dsc", *VARIANTS}
    method = create_method(name, create_encoder("cnn"), 4).eval()
    assert method.config() == {"fusion": fusion}
    again = create_method("dsc", create_encoder("cnn"), 4, **method.config()).eval()
    again.load_state_dict(method.state_dict())
    batch = make_batch(method.encoder, INDEX)
    assert torch.equal(again(**batch).logits, method(**batch).logits)


def test_a_side_without_neutral_speech_is_tested_all_the_same(small_data):
    kept = [i for i, u in enumerate(small_data.utterances) if u.label != "neutral"]
    data = SpeechData(
        [small_data.utterances[i] for i in kept], [small_data.features[i] for i in kept], FRAMES, small_data.device
    )
    method = make().eval()
    batch = FoldSide(data, range(9), method).unlabelled([0, 1, 2])
    torch.testing.assert_close(method(**batch), method.classifier(method.encoder(batch["inputs"])))
