"""A neutral sentence at inference: the head's equations, the wrapped model, enrolled speakers, the stripped model."""

import copy

import pytest
import torch
from torch import nn

from dsnet_plugin import (
    CheckpointError,
    ConfigError,
    DisentangleConfig,
    DisentangleHead,
    NeutralReferenceError,
    ShapeError,
    Speaker,
    WrapError,
    calibration_loss,
    enrol_features,
    refer_to,
    wrap,
)

D, CLASSES = 16, 4
DIFFERENCE = DisentangleConfig(reference="difference", dropout=0.0)


def head(train=False, **changes):
    torch.manual_seed(0)
    made = DisentangleHead(D, CLASSES, DisentangleConfig(**{"reference": "difference", "dropout": 0.0} | changes))
    for projector in (made.p_er, made.p_ei):  # not the identity, so that it cannot hide anything
        nn.init.normal_(projector.projection.weight, std=0.3)
    return made.train(train)


def features(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_with_a_reference_p_er_sees_the_difference_and_without_it_that_to_the_estimate():
    made, h, h_n = head(), features(5, D), features(5, D, seed=2)
    with torch.no_grad():
        assert torch.allclose(made(h, neutral=h_n), made.classifier(made.p_er(h - h_n)))
        assert torch.allclose(made(h), made.classifier(made.p_er(h - made.p_ei(h))))
        mask = torch.tensor([True, False, True, False, False])
        both = torch.where(mask[:, None], made(h, neutral=h_n), made(h))
        assert torch.allclose(made(h, neutral=h_n, neutral_mask=mask), both, atol=1e-6)
        index = torch.tensor([1, 0, 0, 1, 1])
        assert torch.allclose(made(h, neutral=h_n[:2], neutral_index=index), made(h, neutral=h_n[index]), atol=1e-6)
        assert torch.allclose(made(h, neutral=h_n[:1]), made(h, neutral=h_n[:1].expand(5, D)), atol=1e-6)
        z_er, z_ei = made.spaces(h, h_n)
        assert torch.allclose(z_er, made.p_er(h - h_n))
        assert torch.allclose(z_ei, made.p_ei(h))


def test_the_paper_s_head_hears_no_reference_and_begins_at_random():
    made, h = head(reference="none"), features(5, D)
    with torch.no_grad():
        assert torch.equal(made(h, neutral=features(5, D, seed=2)), made(h))
    assert not torch.equal(DisentangleHead(D, CLASSES).p_er.projection.weight, torch.eye(D))
    assert torch.equal(DisentangleHead(D, CLASSES, DIFFERENCE).p_er.projection.weight, torch.eye(D))


def test_in_training_half_of_the_rows_take_the_reference_and_z_ei_is_calibrated_in_all():
    made, h, h_n = head(train=True), features(400, D), features(400, D, seed=2)
    torch.manual_seed(3)
    output = made(h, torch.arange(400) % CLASSES, h_n)
    with torch.no_grad():
        given, estimated = made.p_er(h - h_n), made.p_er(h - made.p_ei(h))
    is_given = (output.z_er - given).abs().amax(1) < 1e-5
    is_estimated = (output.z_er - estimated).abs().amax(1) < 1e-5
    assert bool((is_given ^ is_estimated).all())
    assert 150 < int(is_given.sum()) < 250
    assert torch.allclose(output.losses["calibration"], calibration_loss(output.z_ei, h_n, "sym_kl", 1.0))
    output.loss.backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in made.parameters())


class Speech(nn.Module):
    """A model that somebody wrote."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(20, D), nn.BatchNorm1d(D))
        self.classifier = nn.Linear(D, CLASSES)

    def forward(self, x):
        return {"scores": self.classifier(self.encoder(x))}


@pytest.fixture
def wrapped():
    torch.manual_seed(4)
    model = wrap(Speech(), head="classifier", config=DIFFERENCE)
    model(features(8, 20), labels=torch.arange(8) % CLASSES, neutral=features(8, 20, seed=2)).loss.backward()
    return model.eval()


def test_a_wrapped_model_gives_its_own_output_with_the_reference_and_leaves_no_trace(wrapped):
    x, x_n = features(3, 20), features(3, 20, seed=2)
    before = copy.deepcopy(wrapped.state_dict())
    with torch.no_grad():
        h, h_n = wrapped.encoder(x), wrapped.encoder(x_n)
        output = wrapped(x, neutral=x_n)
        assert output.keys() == {"scores"}
        assert torch.allclose(output["scores"], wrapped.head(h, neutral=h_n))
        assert not torch.allclose(output["scores"], wrapped(x)["scores"], atol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in wrapped.state_dict().items())


@pytest.mark.parametrize("sentences", [1, 2, 10])
def test_an_enrolled_speaker_gives_what_the_mean_of_the_sentences_gives(wrapped, tmp_path, sentences):
    x, x_n = features(3, 20), features(sentences, 20, seed=2)
    speaker = wrapped.enrol(x_n)
    speaker.save(tmp_path / "anna.safetensors")
    assert (tmp_path / "anna.safetensors").stat().st_size < 1_000
    with torch.no_grad():
        expected = wrapped.head(wrapped.encoder(x), neutral=wrapped.encoder(x_n).mean(0, keepdim=True))
        for enrolled in (speaker, Speaker.load(tmp_path / "anna.safetensors"), [speaker] * 3):
            assert torch.allclose(wrapped(x, enrolled=enrolled)["scores"], expected, atol=1e-5)


def test_a_batch_of_several_speakers_has_one_a_row(wrapped):
    x = features(3, 20)
    people = [wrapped.enrol(features(2, 20, seed=seed)) for seed in (5, 6, 7)]
    with torch.no_grad():
        each = torch.cat([wrapped(x[i : i + 1], enrolled=people[i])["scores"] for i in range(3)])
        assert torch.allclose(wrapped(x, enrolled=people)["scores"], each, atol=1e-5)
    with pytest.raises(ShapeError, match="2 neutral rows for 3 rows of h"):
        wrapped(x, enrolled=people[:2])


def test_without_a_label_the_most_neutral_utterances_are_taken_twice_over(wrapped):
    made, h = wrapped.head, features(12, D, seed=8)
    with torch.no_grad():
        first = h[made(h).softmax(1)[:, 2].topk(3).indices].mean(0)
        second = h[made(h, neutral=first.expand_as(h)).softmax(1)[:, 2].topk(3).indices].mean(0)
        assert torch.allclose(enrol_features(made, h, choose=3, neutral_class=2), second)
        assert torch.allclose(enrol_features(made, h, choose=99, neutral_class=2), h.mean(0), atol=1e-6)
    assert isinstance(wrapped.enrol(features(12, 20), choose=3, neutral_class=2), Speaker)


def test_a_speaker_of_another_model_or_of_other_weights_is_refused(wrapped):
    speaker = wrapped.enrol(features(2, 20))
    with torch.no_grad():
        next(wrapped.encoder.parameters()).add_(1e-3)
    with pytest.raises(CheckpointError, match="a speaker whom another model enrolled"):
        wrapped(features(3, 20), enrolled=speaker)


def test_what_cannot_be_enrolled_is_refused(wrapped, tmp_path):
    nan = features(2, 20)
    nan[0, 0] = float("nan")
    with pytest.raises(NeutralReferenceError, match="not numbers"):
        wrapped.enrol(nan)
    with pytest.raises(ShapeError, match="utterances to enrol"):
        wrapped.enrol(features(0, 20))
    for options in ({"choose": 0, "neutral_class": 2}, {"choose": 2}, {"choose": 2, "neutral_class": 4}):
        with pytest.raises(
            ConfigError, match="expected at least 1 utterance and the index of the neutral class, 0 to 3"
        ):
            wrapped.enrol(features(5, 20), **options)
    with pytest.raises(WrapError, match="call eval"):
        copy.deepcopy(wrapped).train().enrol(features(2, 20))
    plain = wrap(Speech(), head="classifier").eval()
    with pytest.raises(ConfigError, match="takes no reference in inference"):
        plain.enrol(features(2, 20))
    with pytest.raises(WrapError, match="given twice"):
        wrapped(features(2, 20), neutral=features(2, 20), enrolled=wrapped.enrol(features(2, 20)))
    for nobody, message in (
        ("anna", "a str in the place"),
        ([features(D)], "a Tensor in the place"),
        ([], "no speaker is"),
    ):
        with pytest.raises(WrapError, match=message):
            wrapped(features(2, 20), enrolled=nobody)
    with pytest.raises(WrapError, match="a str in the place of a speaker"):
        refer_to(wrapped.strip(), "anna")
    (tmp_path / "text").write_text("anna")
    for path in (tmp_path / "text", tmp_path / "nothing"):
        with pytest.raises(CheckpointError, match="holds no enrolled speaker"):
            Speaker.load(path)


def test_ten_thousand_speakers_take_memory_as_vectors_do(wrapped):
    people = [wrapped.enrol(features(1, 20, seed=1)) for _ in range(100)]
    assert all(person.features.untyped_storage().nbytes() == 4 * D for person in people)


def test_a_stripped_model_takes_the_reference_and_agrees(wrapped):
    x, speaker = features(5, 20), wrapped.enrol(features(2, 20, seed=2))
    stripped = wrapped.strip()
    with torch.no_grad():
        assert torch.allclose(stripped(x)["scores"], wrapped(x)["scores"], atol=1e-5)
        refer_to(stripped, speaker)
        assert torch.allclose(stripped(x)["scores"], wrapped(x, enrolled=speaker)["scores"], atol=1e-5)
        refer_to(stripped, None)
        assert torch.allclose(stripped(x)["scores"], wrapped(x)["scores"], atol=1e-5)
    assert wrapped.status().parameters - wrapped.status().training_only == sum(p.numel() for p in stripped.parameters())
    with pytest.raises(CheckpointError, match="another model"):
        refer_to(stripped, Speaker(torch.zeros(D), "0" * 16))
    with pytest.raises(WrapError, match="no stripped model that takes a reference"):
        refer_to(wrap(Speech(), head="classifier").strip(), speaker)


def test_a_stripped_model_keeps_the_reference_in_its_own_type(wrapped):
    x, speaker = features(5, 20), wrapped.enrol(features(2, 20, seed=2))
    stripped = wrapped.strip()
    refer_to(stripped, speaker)
    with torch.no_grad():
        expected = stripped(x)["scores"]
        found = stripped.bfloat16()(x.bfloat16())["scores"]
    torch.testing.assert_close(found.float(), expected, rtol=0.1, atol=0.05)


def test_a_speaker_is_known_to_the_same_model_whatever_its_criterion():
    torch.manual_seed(0)
    model, weight = Speech(), torch.tensor([1.0, 2.0, 3.0, 4.0])
    weighted = wrap(
        copy.deepcopy(model), head="classifier", config=DIFFERENCE, criterion=nn.CrossEntropyLoss(weight)
    ).eval()
    plain = wrap(model, head="classifier", config=DIFFERENCE).eval()
    plain.head.load_state_dict(weighted.head.state_dict(), strict=False)
    x, anna = features(5, 20), weighted.enrol(features(2, 20, seed=2))
    with torch.no_grad():
        assert torch.equal(plain(x, enrolled=anna)["scores"], weighted(x, enrolled=anna)["scores"])


def test_it_compiles_without_a_graph_break_and_is_exported_with_the_reference_as_a_second_input():
    made = head()
    h, h_n = features(4, D), features(4, D, seed=2)
    compiled = torch.compile(made, fullgraph=True, backend="eager")
    with torch.no_grad():
        assert torch.allclose(compiled(h, neutral=h_n), made(h, neutral=h_n), atol=1e-5)
    rows = torch.export.Dim("rows", min=1)
    program = torch.export.export(
        made, (h,), {"neutral": h_n}, dynamic_shapes={"h": {0: rows}, "neutral": {0: rows}}, strict=False
    )
    assert torch.allclose(
        program.module()(features(7, D), neutral=features(7, D, seed=3)),
        made(features(7, D), neutral=features(7, D, seed=3)),
        atol=1e-5,
    )
