"""Two lines around any model: drop-in before, the whole objective with labels, the same model after."""

import copy
import inspect

import pytest
import torch
from torch import nn

from backbones import create_encoder
from dsnet_plugin import (
    DisentangleConfig,
    DisentangleHead,
    DisentangleOutput,
    HeadNotFoundError,
    PrecisionError,
    ShapeError,
    WrapError,
    attach,
    locate,
    wrap,
)
from tests.dsnet_plugin.ser_models import CLASSES, SER_MODELS, AttentionCNN, FeatureTransformer, SharedWeight, speech

LABELS = torch.tensor([0, 1, 2, 3, 1, 0])
INDEX = torch.tensor([0, 1, 1, 0, 2, 2])
STILL = DisentangleConfig(dropout=0.0)

all_models = pytest.mark.parametrize("make", SER_MODELS)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def wrapped(make=AttentionCNN, **options):
    return wrap(make(), example=speech(), num_classes=CLASSES, **options)


def small_net():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, CLASSES))


def step(model, optimizer=None):
    loss = model(speech(), labels=LABELS, neutral=speech(seed=1)).loss
    loss.backward()
    if optimizer:
        optimizer.step()
    return loss.detach()


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same_state(found, expected):
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=0)


# --- the six models


@all_models
def test_each_model_gets_a_head_of_its_width_and_keeps_its_output(make):
    model = make().eval()
    before = model(speech())
    model = wrap(model, example=speech(), num_classes=CLASSES)
    after = model(speech())
    assert (model.head.in_features, model.head.num_classes) == (make.WIDTH, CLASSES)
    assert type(after) is type(before)
    assert make.logits_of(after).shape == make.logits_of(before).shape
    if isinstance(before, tuple | dict):
        assert len(after) == len(before)
    if make is FeatureTransformer:
        torch.testing.assert_close(after[1], before[1])


@all_models
def test_one_step_gives_every_new_parameter_a_gradient(make):
    model = wrapped(make)
    step(model)
    for name, parameter in model.head.named_parameters():
        assert parameter.grad is not None, name
        # What a batch norm follows is free of its bias.
        assert parameter.grad.any() or name == "classifier.0.bias", name
    assert any(p.grad is not None and p.grad.any() for name, p in model.named_parameters() if "head" not in name)


@all_models
def test_each_model_strips_to_the_same_logits_without_the_training_parts(make):
    model = wrapped(make)
    step(model, torch.optim.SGD(model.parameters(), 0.1))
    before = state_of(model)
    stripped = model.strip()
    assert not stripped.training
    assert type(stripped) is make
    torch.testing.assert_close(make.logits_of(stripped(speech())), make.logits_of(model.eval()(speech())))
    assert not any("p_ei" in name or "restorer" in name for name in stripped.state_dict())
    removed = sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in stripped.parameters())
    assert removed == model.status().training_only
    assert_same_state(model.state_dict(), before)
    with pytest.raises(WrapError, match=r"stripped for inference: call eval\(\)"):
        stripped.train()(speech())


@all_models
def test_unwrap_gives_back_the_very_same_modules(make):
    model = make().eval()
    modules, output = list(model.named_modules(remove_duplicate=False)), make.logits_of(model(speech()))
    back = wrap(model, example=speech(), num_classes=CLASSES).unwrap()
    assert back is model
    assert all(a is b for (_, a), (_, b) in zip(back.named_modules(remove_duplicate=False), modules, strict=True))
    torch.testing.assert_close(make.logits_of(back(speech())), output, rtol=0, atol=0)


@all_models
def test_with_head_no_example_is_needed(make):
    with pytest.raises(HeadNotFoundError, match="candidates"):
        wrap(make())
    assert wrap(make(), head=make.NAME).head.in_features == make.WIDTH


def test_a_shared_weight_stays_with_what_shared_it():
    model = SharedWeight()
    shared = model.emotions.weight
    model = wrap(model, head="classifier")
    assert model.emotions.weight is shared
    assert any(parameter is shared for parameter in model.parameters())
    step(model)
    back = model.unwrap()
    assert back.classifier.weight is back.emotions.weight is shared


def test_the_number_of_classes_can_be_another():
    assert wrap(AttentionCNN(), num_classes=7, head="emotion").eval()(speech()).shape == (6, 7)
    assert wrap(AttentionCNN(), head="emotion").head.num_classes == CLASSES


# --- what shows through


def test_the_signature_shows_the_models_inputs_and_the_new_ones():
    model = wrapped(FeatureTransformer)
    parameters = inspect.signature(model.forward).parameters
    assert list(parameters) == [
        *("features", "lengths", "labels", "neutral", "neutral_index", "neutral_mask", "neutral_features"),
        *("enrolled", "return_objective", "neutral_lengths"),
    ]
    assert parameters["features"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert parameters["lengths"].default is None
    columns = list(inspect.signature(wrap(small_net(), head="2").forward).parameters)
    assert columns[:2] == ["input", "labels"]
    assert columns[-1] == "neutral_input"


def test_attributes_fall_through_and_missing_ones_name_the_model():
    model = wrapped(FeatureTransformer)
    assert model.embed is model.model.embed
    assert model.WIDTH == FeatureTransformer.WIDTH
    with pytest.raises(AttributeError, match="FeatureTransformer"):
        _ = model.no_such_thing


def test_status_counts_what_stands_where():
    status = wrapped().status()
    assert (status.model, status.head, status.in_features, status.num_classes) == ("AttentionCNN", "emotion", 24, 4)
    assert status.parameters == sum(p.numel() for p in wrapped().parameters())
    assert "24 features to 4 classes" in str(status)
    assert "orthogonality" in str(status)


@pytest.mark.parametrize("training", [True, False])
def test_mode_and_dtype_are_inherited(training):
    model = AttentionCNN().double().train(training)
    model = wrap(model, head="emotion")
    assert {module.training for module in model.modules()} == {training}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
    assert model.eval()(speech().double()).dtype == torch.float64


def test_a_model_moves_as_one_and_so_does_what_unwrap_gives_back():
    model = wrapped().to(torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    back = model.unwrap().eval()
    assert back(speech().bfloat16()).dtype == torch.bfloat16
    on_meta = wrap(AttentionCNN().to("meta"), head="emotion")
    assert {p.device.type for p in on_meta.parameters()} == {"meta"}
    assert on_meta.eval()(speech().to("meta")).shape == (6, CLASSES)
    assert {p.device.type for p in on_meta.unwrap().parameters()} == {"meta"}


# --- copies


@pytest.mark.parametrize("stepped", [False, True])
def test_a_copy_in_mid_training_is_independent(stepped):
    model = wrapped()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    step(model, optimizer if stepped else None)
    twin = copy.deepcopy(model)
    assert type(twin) is type(model)
    assert not {id(t) for t in model.state_dict(keep_vars=True).values()} & {
        id(t) for t in twin.state_dict(keep_vars=True).values()
    }
    frozen = state_of(twin)
    step(model, optimizer)
    assert_same_state(twin.state_dict(), frozen)
    step(twin, torch.optim.SGD(twin.parameters(), 0.1))
    assert twin.head is not model.head
    assert not torch.equal(twin.state_dict()["model.emotion.head.p_er.projection.weight"], frozen["model.emotion.head.p_er.projection.weight"])  # fmt: skip
    assert twin.unwrap().emotion is not model.unwrap().emotion


def test_a_model_with_its_own_way_of_copying_is_copied_as_wrapped():
    """As a ``torch.fx.GraphModule`` has."""
    model = wrap(torch.fx.symbolic_trace(small_net()), head="2")
    twin = copy.deepcopy(model)
    assert type(twin) is type(model)
    assert twin.head is not model.head


def test_the_state_goes_into_another_one():
    model, other = wrapped(), wrapped()
    step(model, torch.optim.SGD(model.parameters(), 0.1))
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other.eval()(speech()), model.eval()(speech()), rtol=0, atol=0)


# --- neutral references


def test_k_references_with_an_index_are_n_expanded():
    model = wrapped(AttentionCNN, config=STILL).eval()  # batch norm would see other rows in training
    references = speech(3, seed=2)
    few = model(speech(), labels=LABELS, neutral=references, neutral_index=INDEX)
    many = model(speech(), labels=LABELS, neutral=references[INDEX])
    torch.testing.assert_close(few.losses, many.losses)
    assert "calibration" in few.losses


def test_neutral_speech_means_the_same_however_it_is_given():
    model, references = wrapped(AttentionCNN, config=STILL).eval(), speech(seed=2)
    seen = []
    handle = model.head.register_forward_hook(lambda _, args, kwargs, out: seen.append(kwargs), with_kwargs=True)
    expected = model(speech(), labels=LABELS, neutral=references)
    handle.remove()
    for way in ({"neutral": {"features": references}}, {"neutral_features": seen[0]["neutral"]}):
        found = model(speech(), labels=LABELS, **way)
        torch.testing.assert_close(found.losses, expected.losses)
    other = model(speech(), labels=LABELS, neutral=speech(seed=3))
    assert not torch.allclose(other.losses["calibration"], expected.losses["calibration"])


def test_a_column_of_neutral_inputs_is_a_neutral_input():
    model = wrap(small_net(), head="2", config=STILL).eval()
    x, references = torch.randn(6, 8), torch.randn(6, 8)
    found = model(x, labels=LABELS, neutral_input=references)
    torch.testing.assert_close(found.loss, model(x, labels=LABELS, neutral=references).loss)
    assert model(x, neutral_input=references).shape == (6, CLASSES)  # without labels a column is left aside


def test_neutral_given_twice_is_refused():
    for second in ({"neutral_features": torch.zeros(6, 16)}, {"neutral_lengths": None}):
        with pytest.raises(WrapError, match="given twice: expected one of neutral, neutral_features, neutral_<input>"):
            wrapped(FeatureTransformer)(speech(), labels=LABELS, neutral=speech(), **second)


def test_rows_without_a_reference_are_masked():
    mask = torch.tensor([True, False, True, False, True, True])
    model = wrapped(config=STILL).eval()
    masked = model(speech(), labels=LABELS, neutral=speech(seed=1), neutral_mask=mask)
    assert masked.losses["calibration"] != model(speech(), labels=LABELS, neutral=speech(seed=1)).losses["calibration"]


# --- bad use


def test_a_failed_wrap_leaves_the_model_as_it_was():
    model = AttentionCNN()
    modules, state = list(model.named_modules()), state_of(model)

    class Unsigned(AttentionCNN):
        forward = property(lambda self: (_ for _ in ()).throw(ValueError("no signature")))

    for bad in ({"head": "emotoin"}, {}, {"head": "emotion", "num_classes": 1}):
        with pytest.raises((HeadNotFoundError, ValueError)):
            wrap(model, **bad)
        assert list(model.named_modules()) == modules
        assert_same_state(model.state_dict(), state)
    unsigned = Unsigned()
    modules = list(unsigned.named_modules())
    with pytest.raises(ValueError, match="no signature"):
        wrap(unsigned, head="emotion")
    assert list(unsigned.named_modules()) == modules


def test_a_head_of_another_width_is_refused_before_anything_is_touched():
    model = AttentionCNN()
    modules = list(model.named_modules())
    with pytest.raises(
        ShapeError, match=r"takes 23 features and emotion is given 24; expected DisentangleHead\(in_features=24"
    ):
        attach(model, DisentangleHead(23, CLASSES), "emotion")
    elsewhere = locate(nn.ModuleDict({"emotion": nn.Linear(23, 4)}), head="emotion")
    with pytest.raises(ShapeError, match="emotion of this AttentionCNN is given 24"):
        attach(model, DisentangleHead(23, CLASSES), elsewhere)
    assert list(model.named_modules()) == modules


def test_labels_and_neutral_batches_of_the_wrong_kind_are_refused():
    model = wrapped()
    with pytest.raises(ShapeError, match=r"labels lie in 0\.\.4; expected 0\.\.3"):
        model(speech(), labels=LABELS + torch.tensor([0, 0, 0, 1, 0, 0]), neutral=speech())
    with pytest.raises(ShapeError, match="4 neutral rows for 6 rows of h"):
        model(speech(), labels=LABELS, neutral=speech(4))
    # A failed call asks nothing of the next.
    assert model.eval()(speech()).shape == (6, CLASSES)


def test_an_overflow_in_float16_says_so():
    class Loud(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, CLASSES)

        def forward(self, x):
            return self.fc(x * 60000)

    model = wrap(Loud(), head="fc").half()
    with pytest.raises(PrecisionError, match="run the backbone in bfloat16 or float32"):
        model(torch.full((6, 8), 3.0).half(), labels=LABELS, neutral=torch.zeros(6, 8).half())


def test_wrapping_twice_is_refused():
    model = wrapped()
    for again in (model, model.model, nn.Sequential(model)):
        with pytest.raises(WrapError, match=r"wrapped already; unwrap\(\) gives the original back"):
            wrap(again, head="emotion")


def test_a_classifier_that_is_not_called_once_is_told():
    class Calls(nn.Module):
        def __init__(self, times):
            super().__init__()
            self.fc, self.times = nn.Linear(8, CLASSES), times

        def forward(self, x):
            return sum((self.fc(x) for _ in range(self.times)), x.new_zeros(len(x), CLASSES))

    x = torch.randn(6, 8)
    with pytest.raises(WrapError, match="Calls did not call fc in this forward pass"):
        wrap(Calls(0), head="fc")(x, labels=LABELS, neutral=x)
    with pytest.raises(WrapError, match="called more than once"):
        wrap(Calls(2), head="fc")(x, labels=LABELS, neutral=x)
    assert wrap(Calls(2), head="fc")(x).shape == (6, CLASSES)


# --- convolutional classifiers


def test_feature_maps_in_front_of_a_convolution_are_averaged():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.fc = nn.Conv1d(20, 16, 3), nn.Conv1d(16, CLASSES, 1)

        def forward(self, x):
            return self.fc(self.body(x.transpose(1, 2)).mean(2, keepdim=True)).flatten(1)

    model = wrap(Net(), head="fc")
    step(model)
    assert model.eval()(speech()).shape == (6, CLASSES)
    torch.testing.assert_close(model.strip()(speech()), model(speech()))


# --- transformers


def tiny_wav2vec2():
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    small |= {"conv_dim": (16, 16), "conv_kernel": (10, 8), "conv_stride": (5, 4), "num_conv_pos_embeddings": 8}
    small |= {"num_conv_pos_embedding_groups": 2, "classifier_proj_size": 24, "num_labels": 9, "mask_time_prob": 0.0}
    return transformers.Wav2Vec2ForSequenceClassification(transformers.Wav2Vec2Config(**small))


def test_a_transformers_model_gives_its_own_output_class_with_our_loss_first():
    bare = tiny_wav2vec2().eval()
    waves = {"input_values": torch.randn(6, 400)}
    before = bare(**waves)
    model = wrap(bare, num_classes=CLASSES, config=STILL).eval()
    after = model(**waves)
    assert type(after) is type(before)
    assert list(after) == list(before) == ["logits"]
    assert type(model(**waves, return_dict=False)) is tuple
    seen = []
    handle = bare.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs), with_kwargs=True)
    found = model(**waves, labels=LABELS, neutral_input_values=waves["input_values"].flip(0))
    handle.remove()
    assert type(found) is type(before)
    assert list(found) == ["loss", "logits"]
    assert not any("labels" in kwargs for kwargs in seen)  # they are ours: 4 classes are none of its 9
    assert found.loss > nn.functional.cross_entropy(found.logits, LABELS)  # the regularisers are in it
    torch.testing.assert_close(found.logits, after.logits)
    again = model(**waves, labels=LABELS, neutral={"input_values": waves["input_values"].flip(0)})
    torch.testing.assert_close(again.loss, found.loss)


def test_methods_of_a_transformers_model_are_there_and_its_columns_too():
    model = wrap(tiny_wav2vec2(), num_classes=CLASSES)
    model.freeze_feature_encoder()
    frozen = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert frozen
    assert all("feature_extractor" in name for name in frozen)
    assert {"input_values", "attention_mask", "labels", "neutral_input_values", "neutral_attention_mask"} <= set(
        inspect.signature(model.forward).parameters
    )


# --- compile and export


class PaperCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.classifier = create_encoder("cnn"), nn.Linear(256, CLASSES)

    def forward(self, inputs):
        return self.classifier(self.encoder(inputs))


@pytest.fixture
def cnn():
    torch._dynamo.reset()
    yield wrap(PaperCNN(), head="classifier", config=STILL)
    torch._dynamo.reset()


def paper_batch():
    images, references = torch.randn(6, 3, 32, 80), torch.randn(3, 3, 32, 80)
    return {"inputs": images}, {"labels": LABELS, "neutral": references, "neutral_index": INDEX}


def test_a_wrapped_cnn_compiles_without_a_graph_break_in_training(cnn):
    inputs, asked = paper_batch()
    explained = torch._dynamo.explain(cnn)(**inputs, **asked)
    assert (explained.graph_break_count, explained.graph_count) == (0, 1)
    compiled = torch.compile(cnn, fullgraph=True, backend="aot_eager")
    cnn.eval()  # without dropout both are the same
    expected = cnn(**inputs, **asked)
    torch.testing.assert_close(compiled(**inputs, **asked).loss, expected.loss, rtol=1e-4, atol=1e-5)
    cnn.train()
    found = compiled(**inputs, **asked)
    assert isinstance(found, DisentangleOutput)
    found.loss.backward()
    assert all(p.grad is not None for p in cnn.parameters())


def test_a_wrapped_cnn_compiles_and_exports_for_inference(cnn):
    inputs, _ = paper_batch()
    cnn.eval()
    with torch.no_grad():
        assert torch._dynamo.explain(cnn)(**inputs).graph_break_count == 0
        expected = cnn(**inputs)
        compiled = torch.compile(cnn, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(**inputs), expected)
        program = torch.export.export(cnn, (inputs["inputs"],))
    torch.testing.assert_close(program.module()(inputs["inputs"]), expected, rtol=1e-4, atol=1e-5)


# --- what modules keep of a training step


class Caching(nn.Module):
    """Keeps what it computed from its parameters, as LeViT and TinyViT do, in a dict and as it is."""

    def __init__(self):
        super().__init__()
        self.bias, self.fc, self.cache, self.last = nn.Parameter(torch.zeros(8)), nn.Linear(8, CLASSES), {}, None

    def forward(self, x):
        self.cache["bias"] = self.last = self.bias * 2
        return self.fc(x + self.cache["bias"])


def old_weight_norm():
    with pytest.warns(FutureWarning, match="weight_norm"):
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(8, 16)), nn.ReLU(), nn.Linear(16, CLASSES))


@pytest.mark.parametrize(("make", "head"), [(Caching, "fc"), (old_weight_norm, "2")])
def test_a_model_that_keeps_a_part_of_the_graph_strips_right_after_a_step(make, head):
    model, x = wrap(make(), head=head).train(), torch.randn(6, 8)
    model(x, labels=LABELS, neutral=x).loss.backward()
    stripped = model.strip()
    torch.testing.assert_close(stripped(x), model.eval()(x))
    before = stripped(x)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    torch.testing.assert_close(stripped(x), before)
