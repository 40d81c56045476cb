"""Models of the kinds that wrapping has gone wrong on without a word: found, trained, stripped, whichever way the place is told."""

import copy
import logging

import pytest
import torch
from torch import nn

from dsnet_plugin import DisentangleConfig, HeadNotFoundError, ShapeError, WrapError, wrap
from tests.dsnet_plugin.model_kinds import (
    CLASSES,
    KINDS,
    Block,
    EmotionAndAge,
    FrameScores,
    LayersInAList,
    LossOfItsOwn,
    OneDict,
    ProbabilitiesAndEmbedding,
    speech,
)

STILL = DisentangleConfig(dropout=0.0)
WAYS = ("module tree", "example", "name")

kinds = pytest.mark.parametrize("kind", KINDS)
ways = pytest.mark.parametrize("way", WAYS)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def wrapped(kind, way, rows=3, training=True, num_classes=CLASSES):
    made, inputs = KINDS[kind], KINDS[kind].inputs(rows)
    how = {"example": {"example": inputs}, "name": {"head": made.place}, "module tree": {}}[way]
    return wrap(made.make().train(training), num_classes=num_classes, config=STILL, **how)


def features_of(kind, rows):
    """The inputs without labels."""
    inputs = KINDS[kind].inputs(rows)
    return inputs[:1] if kind == "loss" else inputs


def labels(rows):
    return torch.arange(rows) % CLASSES


def everything(model):
    """All that a refusal must leave as it was."""
    return {
        "modules": list(model.named_modules(remove_duplicate=False)),
        "modes": [module.training for module in model.modules()],
        "hooks": [(*module._forward_hooks, *module._forward_pre_hooks) for module in model.modules()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
    }


def assert_left_as_it_was(model, before, state, draw):
    assert everything(model) == before
    torch.testing.assert_close(model.state_dict(), state, rtol=0, atol=0)
    assert torch.equal(torch.random.get_rng_state(), draw)


def refused(model, error, message, **how):
    before, state, draw = everything(model), copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    with pytest.raises(error, match=message):
        wrap(model, **how)
    assert_left_as_it_was(model, before, state, draw)


@kinds
@ways
@pytest.mark.parametrize("training", [True, False])
def test_the_head_stands_on_the_utterances_features_whichever_way_the_place_is_told(kind, way, training):
    model, made = wrapped(kind, way, training=training), KINDS[kind]
    assert (model.location.name, model.head.in_features) == (made.place, made.width)
    assert {module.training for module in model.modules()} == {training}
    assert made.place in str(model.status())


@kinds
@ways
@pytest.mark.parametrize("rows", [2, 3, 4])
def test_outputs_keep_their_type_their_shape_and_their_kind(kind, way, rows):
    made = KINDS[kind]
    bare, inputs = made.make().eval(), made.inputs(rows)
    before = bare(*inputs)
    model = wrapped(kind, way, rows, training=False)
    if kind == "loss":  # labels ask for the objective
        assert made.scores(model(*inputs)).shape == (rows, CLASSES)
        return
    after = model(*inputs)
    assert type(after) is type(before)
    assert made.scores(after).shape == made.scores(before).shape == (rows, CLASSES)
    if isinstance(before, tuple | dict):
        values = (before.values(), after.values()) if isinstance(before, dict) else (before, after)
        pairs = zip(*values, strict=True)
        assert all(a.shape == b.shape for a, b in pairs)
    seen = []
    handle = model.head.register_forward_hook(lambda _, inputs, output: seen.append(output))
    model(*inputs)
    handle.remove()
    assert seen[0].shape == (rows, CLASSES)  # the head runs, and nothing that stood there before


@kinds
@ways
@pytest.mark.parametrize("training", [True, False])
def test_one_step_trains_the_model_and_the_head(kind, way, training):
    model = wrapped(kind, way, training=training)
    inputs = features_of(kind, 3)
    found = model(*inputs, labels=labels(3), neutral=inputs)
    assert set(found.losses) == {"task", "orthogonality", "reconstruction", "calibration"}
    found.loss.backward()
    others = ("age",) if kind == "two-tasks" else ()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith(tuple(f"model.{other}" for other in others) or "-"), name


@kinds
@ways
def test_a_stripped_model_gives_the_same_right_after_a_step(kind, way):
    model, made = wrapped(kind, way), KINDS[kind]
    inputs = features_of(kind, 3)
    model(*inputs, labels=labels(3), neutral=inputs).loss.backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    stripped, whole = model.strip(), model.eval()
    expected = whole(*made.inputs(3))
    if kind == "loss":
        torch.testing.assert_close(stripped(*made.inputs(3))[1], expected.logits)
        return
    torch.testing.assert_close(made.scores(stripped(*made.inputs(3))), made.scores(expected))


@kinds
@ways
def test_unwrapping_gives_back_the_model_with_all_its_modules(kind, way):
    made = KINDS[kind]
    bare = made.make().eval()
    modules, expected = list(bare.named_modules(remove_duplicate=False)), made.scores(bare(*made.inputs(3)))
    how = {"example": {"example": made.inputs(3)}, "name": {"head": made.place}, "module tree": {}}[way]
    back = wrap(bare, num_classes=CLASSES, **how).unwrap()
    assert list(back.named_modules(remove_duplicate=False)) == modules
    torch.testing.assert_close(made.scores(back(*made.inputs(3))), expected, rtol=0, atol=0)


@kinds
@ways
def test_a_classifier_of_other_classes_is_replaced_whichever_way_it_is_told(kind, way):
    if (kind, way) == ("two-tasks", "example") or (kind, way) == ("two-tasks", "module tree"):
        return  # which of the two is meant cannot be told
    model = wrapped(kind, way, training=False, num_classes=7)
    assert model.location.name == KINDS[kind].place
    if kind != "loss":
        assert KINDS[kind].scores(model(*KINDS[kind].inputs(3))).shape == (3, 7)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].refused])
def test_a_block_that_gives_more_than_scores_or_takes_more_than_features_is_refused_by_name(kind):
    for name in KINDS[kind].refused:
        refused(
            KINDS[kind].make(),
            HeadNotFoundError,
            rf"no head can stand in for {name}, which .*candidates: .*{KINDS[kind].place}",
            head=name,
        )


# --- what is refused


@pytest.mark.parametrize("pooled", [False, True])
def test_scores_of_each_frame_are_refused_and_never_pooled_over_another_axis(pooled):
    message = r"\(3, 12, 12\) into scores for each frame \(3, 12, 4\).*pool over frames"
    for how in ({"example": speech(3)}, {"example": speech(3), "head": "emotion"}):
        refused(FrameScores(pooled), HeadNotFoundError, message, num_classes=CLASSES, **how)
    with pytest.raises(ShapeError, match="pool over frames"):
        wrap(FrameScores(pooled), head="emotion")(speech(3))
    with pytest.raises(HeadNotFoundError, match=r"first forward pass does not confirm it \(.*pool over frames"):
        wrap(FrameScores(pooled), num_classes=CLASSES)(speech(3), labels=labels(3), neutral=speech(3))


def test_two_tasks_are_not_guessed_between():
    refused(EmotionAndAge(), HeadNotFoundError, "emotion, age give its outputs", example=speech(), num_classes=7)
    model = wrap(EmotionAndAge(), num_classes=7)  # age is at the end of the tree
    with pytest.raises(HeadNotFoundError, match=r"age was taken for the classifier.*emotion, age give its outputs"):
        model(speech(3))
    assert model.unwrap()(speech(3))[1].shape == (3,)


def test_a_layer_that_is_no_classifier_though_it_has_as_many_outputs_is_found_out_by_the_first_forward_pass():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.emotion = nn.Linear(20, CLASSES), nn.Linear(80, 8)

        def forward(self, features):
            x = features.mean(dim=1)
            return self.emotion((self.gate(x).softmax(-1)[:, :, None] * x[:, None]).flatten(1))

    model = wrap(Gated(), num_classes=CLASSES)
    before = copy.deepcopy(model.state_dict())
    for call in ({}, {"labels": labels(3), "neutral": speech(3)}):
        with pytest.raises(HeadNotFoundError, match=r"gate was taken.*comes from emotion.*head= or example="):
            model(speech(3), **call)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_scores_that_something_is_added_to_are_no_classifiers():
    class Added(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(20, CLASSES), nn.Linear(20, CLASSES)

        def forward(self, features):
            return self.one(features.mean(1)) + self.two(features.amax(1))

    refused(Added(), HeadNotFoundError, "no linear layer's output is an output of it", example=speech())


def test_one_layer_for_two_tasks_is_not_taken_for_one():
    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.both = nn.Linear(20, 6)

        def forward(self, features):
            return self.both(features.mean(1)).split([4, 2], dim=1)

    refused(Joined(), HeadNotFoundError, "the model returns a part", example=speech(), num_classes=CLASSES)


def test_a_block_whose_layers_are_called_from_elsewhere_is_refused():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(20, 10), nn.Linear(10, CLASSES)
            self.decision = nn.Sequential(self.first, nn.ReLU(), self.last)

        def forward(self, features):
            return self.last(self.first(features.mean(1)))

    refused(Twice(), WrapError, "also keeps a part of decision in first and may call it from there", head="decision")
    assert wrap(Twice(), example=speech()).location.name == "last"


def test_a_model_without_a_forward_is_refused():
    class Modules(nn.Module):
        def __init__(self):
            super().__init__()
            self.emotion = nn.Linear(20, CLASSES)

        def classify(self, features):
            return self.emotion(features.mean(1))

    for how in ({"head": "emotion"}, {"num_classes": CLASSES}, {"example": speech()}):
        refused(Modules(), WrapError, "Modules has no forward", **how)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("how", [{"num_classes": CLASSES}, {"example": speech()[:, 0]}, {"head": "1"}])
def test_an_encoder_compiled_by_torchscript_learns_under_the_head(how):
    encoder = torch.jit.script(nn.Sequential(nn.Linear(20, 16), nn.ReLU()))
    model = wrap(nn.Sequential(encoder, nn.Linear(16, CLASSES)), **how)
    x = speech()[:, 0]
    model(x, labels=labels(len(x)), neutral=x).loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    model.eval()
    torch.testing.assert_close(model.strip()(x), model(x))
    with pytest.raises(WrapError, match="a model that TorchScript compiled keeps the layers it has"):
        wrap(torch.jit.script(nn.Sequential(nn.Linear(20, 16), nn.Linear(16, CLASSES))), **how)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_frozen_torchscript_encoder_which_is_in_no_mode_is_no_hindrance():
    encoder = torch.jit.freeze(torch.jit.script(nn.Sequential(nn.Linear(20, 16), nn.ReLU()).eval()))
    x = speech()[:, 0]
    model = wrap(nn.Sequential(encoder, nn.Linear(16, CLASSES)), example=x)
    model(x, labels=labels(len(x)), neutral=x).loss.backward()
    assert model.eval()(x).shape == (len(x), CLASSES)


def test_a_misspelt_neutral_input_is_named():
    model = wrap(Block(), head="decision")
    with pytest.raises(WrapError, match="neutral_featurs: Block takes no featurs; it takes features"):
        model(speech(), labels=labels(len(speech())), neutral_featurs=speech())


def test_a_model_that_computes_with_its_classifiers_weight_is_told_and_no_class_of_ours_is_named():
    class Cosine(nn.Module):
        def __init__(self):
            super().__init__()
            self.emotion = nn.Linear(20, CLASSES)

        def forward(self, features):
            return features.mean(1) @ self.emotion.weight.t()

    with pytest.raises(
        AttributeError, match="reads 'weight' of its classifier, in whose place a DisentangleHead stands"
    ):
        wrap(Cosine(), head="emotion")(speech())


def test_a_lazy_model_is_refused_before_it_is_given_weights():
    refused_model = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.Linear(8, CLASSES))
    with pytest.raises(HeadNotFoundError, match="lazy layers without weights"):
        wrap(refused_model, example=torch.zeros(2, 20))
    assert isinstance(refused_model[0].weight, nn.UninitializedParameter)


# --- the module tree


def test_one_line_of_the_log_says_which_place_the_module_tree_told(caplog):
    with caplog.at_level(logging.WARNING, "dsnet_plugin"):
        model = wrap(Block(), num_classes=CLASSES)
        wrap(Block(), head="decision")
    (record,) = caplog.records
    assert record.getMessage() == (
        "Block: DisentangleHead in the place of decision, told by the module tree, for the first forward pass to confirm; "
        "other places: decision.5 (10 features)"
    )
    assert any(parameter is model.head.p_er.projection.weight for parameter in model.parameters())


def test_the_first_forward_pass_confirms_once_and_leaves_no_trace():
    model = wrap(EmotionAndAge(), num_classes=CLASSES)
    calls = []
    model.model.encoder.register_forward_hook(lambda *_: calls.append(1))
    state, draw = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    with torch.no_grad():
        model.eval()(speech(3))
    assert len(calls) == 2
    torch.testing.assert_close(model.state_dict(), state, rtol=0, atol=0)
    assert torch.equal(torch.random.get_rng_state(), draw)
    model(speech(3))
    assert len(calls) == 3


class Cosine(nn.Module):
    """Ends in a matrix of unit vectors behind a linear layer, as speaker models do."""

    def __init__(self):
        super().__init__()
        self.encoder, self.weight, self.embed = (
            nn.Linear(8, 16),
            nn.Parameter(torch.randn(CLASSES, 12)),
            nn.Linear(16, 12),
        )

    def forward(self, x):
        return nn.functional.linear(self.embed(self.encoder(x).relu()), self.weight)


def test_a_model_that_does_not_run_with_a_head_in_the_place_is_no_confirmation():
    bare = Cosine()
    x, embed = torch.randn(3, 8), bare.embed
    before = bare(x)
    model = wrap(bare, num_classes=CLASSES)
    with pytest.raises(
        HeadNotFoundError, match=r"embed was taken .* does not confirm it \(with a head there it ends in Runt"
    ):
        model(x)
    assert model.unwrap().embed is embed
    torch.testing.assert_close(bare(x), before)
    with pytest.raises(HeadNotFoundError, match="no linear layer's output is an output of it"):
        wrap(Cosine(), num_classes=CLASSES, example=x)


def test_inputs_that_the_model_itself_does_not_take_are_not_blamed_on_the_place():
    model = wrap(EmotionAndAge(), num_classes=CLASSES)
    with pytest.raises(RuntimeError, match=r"multiplied|expected input|size"):
        model(torch.zeros(3, 5, 2))
    model.eval()(speech(3))  # the next call confirms


def test_a_model_that_copied_timms_names_is_looked_at_as_any_other():
    """Its ``get_classifier`` gives a head of another task, too, and its output is a pair."""

    class Patchout(nn.Module):
        num_features = 16

        def __init__(self):
            super().__init__()
            self.encoder, self.head, self.head_dist = nn.Linear(8, 16), nn.Linear(16, CLASSES), nn.Linear(16, 2)

        def get_classifier(self):
            return self.head, self.head_dist

        def forward(self, x):
            h = self.encoder(x).relu()
            return self.head(h), h

    model = wrap(Patchout(), num_classes=CLASSES).eval()
    scores, h = model(torch.randn(3, 8))
    assert (model.location.name, scores.shape, h.shape) == ("head", (3, CLASSES), (3, 16))


def test_status_names_the_other_places_and_what_told_this_one():
    status = wrap(Block(), example=speech(), num_classes=CLASSES).status()
    assert (status.head, status.told_by, status.alternatives) == (
        "decision",
        "the example",
        ("decision.5 (10 features)",),
    )
    assert wrap(Block(), head="decision.5").status().alternatives == ("decision (18 features)",)
    assert "age (18 features)" in wrap(EmotionAndAge(), example=speech(), num_classes=CLASSES).status().alternatives
    embedding = wrap(ProbabilitiesAndEmbedding(), example=speech()).status()
    assert (embedding.head, embedding.alternatives) == ("emotion", ("embedding (18 features)",))


# --- inputs


def test_a_dict_is_keywords_or_the_one_dict_that_forward_takes():
    model = wrap(OneDict(), example={"features": speech()}, config=STILL).eval()
    neutral = {"features": speech(seed=1)}
    found = model({"features": speech()}, labels=labels(6), neutral=neutral)
    by_column = model({"features": speech()}, labels=labels(6), neutral_batch=neutral)
    torch.testing.assert_close(found.loss, by_column.loss)
    assert wrap(Block(), example={"features": speech()}).location.name == "decision"


@pytest.mark.parametrize("positional", [True, False])
def test_labels_that_forward_requires_ask_for_the_objective_wherever_they_stand(positional):
    model = wrap(LossOfItsOwn(), head="emotion", config=STILL).eval()
    given = ((speech(), labels(6)), {}) if positional else ((speech(),), {"labels": labels(6)})
    found = model(*given[0], **given[1], neutral=speech(4, seed=1), neutral_index=torch.tensor([0, 1, 2, 3, 3, 0]))
    assert set(found.losses) == {"task", "orthogonality", "reconstruction", "calibration"}
    plain = nn.functional.cross_entropy(found.logits, labels(6))
    torch.testing.assert_close(found.losses["task"], plain)


def test_a_forward_that_requires_labels_is_given_none_where_the_loop_keeps_them():
    class Optional(LossOfItsOwn):
        def forward(self, features, labels):
            return super().forward(features, labels) if labels is not None else self.emotion(self.encoder(features))

    model = wrap(Optional(), head="emotion", config=STILL)
    output, objective = model(speech(), neutral=speech(seed=1), return_objective=True)
    assert output.shape == (6, CLASSES)
    assert set(objective.losses) == {"orthogonality", "reconstruction", "calibration"}


def test_the_list_from_which_layers_are_called_is_the_models_own_again_after_unwrapping():
    bare = LayersInAList()
    last = bare.out
    model = wrap(bare, head="out")
    assert bare.layers["decision"][1][0] is bare.out is not last
    assert model.strip().layers["decision"][1][0] is not bare.out
    back = model.unwrap()
    assert back.layers["decision"][1][0] is back.out is last


# --- wide features


def test_features_too_wide_for_a_head_are_refused_in_one_line_before_memory_is_taken():
    model = nn.Sequential(nn.Flatten(), nn.Linear(30_000, CLASSES))
    refused(
        model,
        ValueError,
        r"30,000 features has 5\.4 billion parameters.*narrow_to=256",
        example=speech().repeat(1, 25, 5),
    )


def test_narrowed_features_are_what_the_method_works_on():
    config = DisentangleConfig(narrow_to=8, dropout=0.0)
    model = wrap(Block(), head="decision", config=config)
    found = model(speech(), labels=labels(6), neutral=speech(seed=1))
    assert (found.z_er.shape, found.z_ei.shape, found.h_hat.shape) == ((6, 8), (6, 8), (6, 8))
    found.loss.backward()
    assert model.head.narrow.weight.grad.any()
    assert all(parameter.grad is not None for parameter in model.parameters())
    torch.testing.assert_close(model.strip()(speech()), model.eval()(speech()))
    assert model.head.in_features == 18
