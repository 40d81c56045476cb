"""Places that look like a classifier and are none, and what stands behind a classifier: each was once taken or lost in silence."""

import logging
import types

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dsnet_plugin import (
    ConfigError,
    HeadNotFoundError,
    ShapeError,
    WrapError,
    concordance_loss,
    load_pretrained,
    save_pretrained,
    wrap,
)

X = torch.linspace(-2, 2, 6 * 40).reshape(6, 40).sin()
FRAMES = torch.linspace(-2, 2, 6 * 20 * 40).reshape(6, 20, 40).cos()
MAPS = torch.linspace(-2, 2, 6 * 16 * 12).reshape(6, 1, 16, 12).cos()
Y = torch.arange(6) % 4
HOWS = ["the number of classes", "an example"]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def wrapped(model, x, how, **options):
    """Wrapped and run once, so that a place told by the modules is confirmed."""
    model = wrap(model, num_classes=4, example=x if how == "an example" else None, **options).eval()
    model(x)
    return model


class Model(nn.Module):
    """An encoder and a head that a function joins."""

    def __init__(self, encoder, head, join=lambda encoder, head, x: head(encoder(x))):
        super().__init__()
        self.encoder, self.head, self.join = encoder, head, join

    def forward(self, x):
        return self.join(self.encoder, self.head, x)


def mlp(first=40):
    return nn.Sequential(nn.Linear(first, 16), nn.ReLU(), nn.Linear(16, 4))


def net():
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4)),
    )


# --- an encoder is no classifier


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(
    ("front", "make", "x", "place"),
    [
        (nn.LayerNorm(40), mlp, X, "head.2"),
        (nn.BatchNorm1d(40), mlp, X, "head.2"),
        (nn.BatchNorm2d(1), net, MAPS, "head.7"),
        (nn.Linear(40, 40), mlp, X, "head"),  # a layer in front is an encoder
    ],
    ids=["layer norm", "batch norm", "maps", "a layer"],
)
def test_what_only_normalises_in_front_makes_no_classifier_of_the_encoder(front, make, x, place, how):
    model = wrapped(Model(front, make()), x, how)
    assert model.location.name == place
    assert model.head.in_features == (40 if place == "head" else 16)


@pytest.mark.parametrize("how", HOWS)
def test_a_convolution_over_several_places_is_not_given_their_mean(how):
    block = nn.Sequential(nn.Conv2d(8, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), nn.Linear(64, 4))
    model = wrapped(Model(nn.Conv2d(1, 8, 3), block), MAPS, how)
    assert (model.location.name, model.head.in_features) == ("head.4", 64)


@pytest.mark.parametrize("how", HOWS)
def test_scores_of_each_frame_from_a_convolution_are_refused(how):
    model = nn.Sequential(nn.Conv1d(20, 16, 3), nn.ReLU(), nn.Conv1d(16, 4, 1), nn.LogSoftmax(1))
    with pytest.raises(HeadNotFoundError, match="pool over frames"):
        wrapped(model, FRAMES, how)


# --- what follows the classifier's last layer


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("pool", [nn.AdaptiveAvgPool1d(1), nn.AdaptiveMaxPool1d(1)], ids=["mean", "max"])
@pytest.mark.parametrize("log", [False, True])
def test_a_convolution_that_pools_its_scores_keeps_their_shape_and_kind(how, pool, log):
    tail = [pool, nn.Flatten(), *([nn.LogSoftmax(1)] if log else [])]
    bare = Model(nn.Conv1d(20, 16, 3), nn.Sequential(nn.Conv1d(16, 4, 1), *tail))
    assert bare(FRAMES).shape == (6, 4)
    model = wrapped(bare, FRAMES, how)
    scores = model(FRAMES)
    assert scores.shape == (6, 4)
    assert scores.std() > 0
    assert torch.allclose(scores.exp().sum(1), torch.ones(6)) == log
    torch.testing.assert_close(model.strip()(FRAMES), scores)


def test_a_layer_that_works_in_place_behind_the_head_leaves_the_objectives_logits():
    bare = nn.Sequential(nn.Linear(40, 16), nn.Sequential(nn.Linear(16, 4), nn.ReLU(inplace=True)))
    model = wrap(bare, num_classes=4, example=X).eval()
    scores, objective = model(X, labels=Y, neutral=X, return_objective=True)
    torch.testing.assert_close(scores, objective.logits.relu())
    assert objective.logits.min() < 0


HEADS = {
    "mean of softmaxes": lambda head, h: (head.a(h).softmax(-1) + head.b(h).softmax(-1)) / 2,
    "a view behind": lambda head, h: F.log_softmax(head.a(h) + head.b(h), -1).view(len(h), -1),
    "clamped": lambda head, h: (head.a(h) + head.b(h)).softmax(-1).clamp(1e-7, 1),
    "logarithm": lambda head, h: torch.log((head.a(h) + head.b(h)).softmax(-1) + 1e-8),
    "several dropouts": lambda head, h: torch.stack([head.a(F.dropout(h, 0.3)).softmax(-1) for _ in "12"]).mean(0),
    "scaled": lambda head, h: torch.sigmoid(head.a(h) + head.b(h)) * 4 + 1,
    "log-sigmoid": lambda head, h: F.logsigmoid(head.a(h) + head.b(h)),
    "standardised targets": lambda head, h: head.a(h) * head.scale + head.scale,
}


class Branches(nn.Module):
    def __init__(self, compute):
        super().__init__()
        self.a, self.b, self.compute = nn.Linear(16, 4), nn.Linear(16, 4), compute
        self.register_buffer("scale", torch.full((4,), 3.0))

    def forward(self, h):
        return self.compute(self, h)


@pytest.mark.parametrize("compute", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("hint", ["example", "head"])
def test_a_function_inside_the_block_is_not_lost_wherever_it_stands(compute, hint):
    model = Model(nn.Linear(40, 16), Branches(compute))
    with pytest.raises(HeadNotFoundError, match=r"in a function of what .* gives, which would be lost"):
        wrap(model, num_classes=4, **({"example": X} if hint == "example" else {"head": "head", "example": X}))


def test_a_sum_of_two_layers_is_a_block():
    block = Branches(lambda head, h: head.a(h) + head.b(h.relu()))
    assert wrap(Model(nn.Linear(40, 16), block), num_classes=4, example=X).location.name == "head"


def test_a_criterion_of_probabilities_is_refused_and_one_in_front_of_a_tail_is_said(caplog):
    make = lambda: nn.Sequential(nn.Linear(40, 16), nn.Sequential(nn.Linear(16, 4), nn.LogSoftmax(-1)))  # noqa: E731
    with pytest.raises(ConfigError, match=r"NLLLoss\(\) takes probabilities .* expected nn.CrossEntropyLoss"):
        wrap(make(), num_classes=4, example=X, criterion=nn.NLLLoss())
    with pytest.raises(ConfigError, match=r"expected nn.BCEWithLogitsLoss"):
        wrap(make(), num_classes=4, example=X, criterion=nn.BCELoss())
    with caplog.at_level(logging.WARNING, "dsnet_plugin"):
        wrap(make(), num_classes=4, example=X, criterion=concordance_loss)
    assert "the criterion is given the head's logits, in front of the LogSoftmax" in caplog.text


def test_floats_that_a_criterion_would_spread_over_all_outputs_are_refused():
    model = wrap(mlp(), num_classes=4, example=X[:4], criterion=nn.MSELoss())
    with pytest.raises(ShapeError, match=r"floats of shape \(4,\) for 4 outputs.*expected \(4, 4\)"):
        model(X[:4], labels=torch.rand(4), neutral=X[:4])


# --- where a model keeps its classifier, and what it does besides


class FromElsewhere(nn.Module):
    """Calls its classifier from where no head was put."""

    def __init__(self, keep):
        super().__init__()
        self.encoder, self.fc = nn.Linear(40, 16), nn.Linear(16, 4)
        self.elsewhere = keep(self.fc)

    def forward(self, x):
        kept = self.elsewhere
        fc = next(iter(kept)) if isinstance(kept, set) else getattr(kept, "fc", kept)
        return fc(self.encoder(x).relu())


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("keep", [lambda fc: types.SimpleNamespace(fc=fc), lambda fc: {fc}, lambda fc: fc.__call__])
def test_a_classifier_that_is_called_from_elsewhere_is_no_place_for_a_head(keep, how):
    model = FromElsewhere(keep)
    before, modules = model(X), dict(model.named_modules())
    with pytest.raises(HeadNotFoundError, match=r"does not (confirm|return what a head there gives)"):
        wrapped(model, X, how)
    if how == "an example":
        assert dict(model.named_modules()) == modules
        assert torch.equal(model(X), before)


@pytest.mark.parametrize("how", HOWS)
def test_utterances_are_not_mixed_by_a_number_of_classes_that_stands_in_the_code(how):
    join = lambda encoder, head, x: head(encoder(x)).view(-1, 8)  # noqa: E731
    with pytest.raises(HeadNotFoundError):
        wrapped(Model(nn.Linear(40, 16), nn.Linear(16, 8), join), X, how)


def test_a_hook_on_the_classifier_is_not_lost():
    model = mlp()
    model[2].register_forward_hook(lambda module, inputs, output: output.log_softmax(-1))
    with pytest.raises(WrapError, match="2 has a forward hook, which would be lost"):
        wrap(model, num_classes=4, example=X)


def test_an_input_of_the_models_own_may_begin_with_neutral():
    class Odd(Model):
        def forward(self, x, neutral_share=0.0):
            return super().forward(x) + neutral_share

    model = wrap(Odd(nn.Linear(40, 16), nn.Linear(16, 4)), head="head").eval()
    torch.testing.assert_close(model(X, neutral_share=5.0), model(X) + 5)


def test_a_model_whose_train_returns_nothing_is_stripped():
    class Silent(Model):
        def train(self, mode=True):
            super().train(mode)

    model = wrap(Silent(nn.Linear(40, 16), nn.Linear(16, 4)), head="head")
    model.eval()
    torch.testing.assert_close(model.strip()(X), model(X))


def test_what_a_module_keeps_besides_tensors_is_the_bases(tmp_path):
    class Counting(Model):
        def get_extra_state(self):
            return {"version": 3}

        def set_extra_state(self, state):
            pass

    model = wrap(Counting(nn.Linear(40, 16), nn.Linear(16, 4)), head="head").eval()
    save_pretrained(model, tmp_path)
    loaded = load_pretrained(tmp_path, Counting(nn.Linear(40, 16), nn.Linear(16, 4)))
    assert torch.equal(loaded(X), model(X))


@pytest.mark.parametrize("hint", [{}, {"head": "2"}, {"example": X}])
def test_layers_without_weights_are_refused_whatever_the_hint(hint):
    model = nn.Sequential(nn.LazyLinear(16), nn.ReLU(), nn.Linear(16, 4))
    with pytest.raises(HeadNotFoundError, match="lazy layers without weights: run it once"):
        wrap(model, num_classes=4, **hint)


@pytest.mark.parametrize("number", [0, -1, 4.0, "4"])
def test_a_number_of_classes_that_is_none_is_refused(number):
    with pytest.raises(ConfigError, match="expected a whole number of classes, at least 1, or None"):
        wrap(mlp(), num_classes=number, example=X)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(
    "norm",
    [
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.orthogonal,
    ],
    ids=["old weight norm", "old spectral norm", "weight norm", "spectral norm", "orthogonal"],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_classifier_whose_weight_is_computed_is_replaced_whole(norm, how):
    model = wrapped(Model(nn.Linear(40, 16), norm(nn.Linear(16, 4))), X, how)
    assert (model.location.name, model.head.in_features) == ("head", 16)
    assert not [name for name, _ in model.named_parameters() if "weight_g" in name or "parametrizations" in name]


def test_a_compiled_model_is_to_be_wrapped_first():
    with pytest.raises(WrapError, match="compiled already: wrap it first"):
        wrap(torch.compile(mlp(), backend="eager"), num_classes=4)


def test_a_models_own_attributes_are_not_hidden_by_those_of_wrapping():
    model = Model(nn.Linear(40, 16), nn.Linear(16, 4))
    model.tail, model.confirm = "its own", "too"
    wrapped_model = wrap(model, num_classes=4, example=X)
    assert (wrapped_model.tail, wrapped_model.confirm) == ("its own", "too")


class Rating(nn.Module):
    def __init__(self, behind=lambda z: 1 + 4 * z.sigmoid()):
        super().__init__()
        self.encoder, self.rating = nn.Linear(20, 16), nn.Linear(16, 2)
        self.behind = behind

    def forward(self, x):
        return self.behind(self.rating(self.encoder(x).relu()))


@pytest.mark.parametrize("how", [{"example": torch.zeros(2, 20)}, {"num_classes": 2}])
def test_a_criterion_in_front_of_a_function_is_said(how, caplog):
    with caplog.at_level(logging.WARNING, "dsnet_plugin"):
        wrap(Rating(), criterion=nn.MSELoss(), **how)(torch.randn(4, 20))
    assert "the criterion is given the head's logits, from which Rating computes what it returns" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "dsnet_plugin"):
        wrap(Rating(lambda z: z), criterion=nn.MSELoss(), **how)(torch.randn(4, 20))
        wrap(Rating(), **how)(torch.randn(4, 20))
    assert "criterion" not in caplog.text


class Skipped(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.classifier, self.beside = nn.Linear(20, 16), nn.Linear(16, 4), nn.Linear(16, 4)

    def forward(self, x):
        h = self.encoder(x).relu()
        return self.classifier(h) + self.beside(h)


def test_a_named_layer_that_does_not_give_what_the_model_returns_is_said_with_an_example(caplog):
    x = torch.zeros(2, 20)
    with caplog.at_level(logging.WARNING, "dsnet_plugin"):
        wrap(Skipped(), head="classifier", example=x)
    assert "Skipped: nothing that the model returns is what a head in the place of classifier gives" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "dsnet_plugin"):
        wrap(Rating(), head="rating", example=x)
    assert not caplog.records
    with pytest.raises(HeadNotFoundError, match=r"encoder was taken for the classifier of Rating by its name.*shapes"):
        wrap(Rating(), num_classes=4, head="encoder", example=x)
