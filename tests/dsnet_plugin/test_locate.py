"""Finding the classifier: never by guess, and never at the cost of the model."""

import pytest
import torch
from torch import nn

from dsnet_plugin import HeadNotFoundError, Location, locate
from tests.dsnet_plugin.ser_models import (
    CLASSES,
    SER_MODELS,
    UNTOLD,
    AttentionCNN,
    CNNBiLSTM,
    FeatureTransformer,
    TwoHeads,
    speech,
)


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_untouched(model, modules, state, training):
    assert list(model.named_modules()) == modules
    assert {name: module.training for name, module in model.named_modules()} == training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        assert value.device.type == "cpu"
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)


@pytest.mark.parametrize("make", SER_MODELS)
def test_an_example_tells_the_classifier_whose_output_is_the_logits(make):
    place = locate(make(), example=speech(), num_classes=CLASSES)
    assert (place.names, place.in_features, place.num_classes) == ((make.NAME,), make.WIDTH, CLASSES)


@pytest.mark.parametrize("make", [m for m in SER_MODELS if m not in UNTOLD])
def test_an_example_may_be_a_dict_and_needs_no_number_of_classes(make):
    assert locate(make(), example={"features": speech()}).name == make.NAME


def test_two_heads_are_told_apart_by_their_classes_and_not_otherwise():
    assert locate(TwoHeads(), example=speech(), num_classes=2).name == "gender_head"
    with pytest.raises(
        HeadNotFoundError, match=r"emotion_head, gender_head give its outputs; give its name with head="
    ):
        locate(TwoHeads(), example=speech())


def test_without_name_and_example_the_candidates_are_named_with_their_widths():
    with pytest.raises(HeadNotFoundError, match=r"candidates: head\.0 \(28 to 18\), head\.3 \(18 to 4\)"):
        locate(CNNBiLSTM())


def test_a_classifier_that_is_called_twice_is_no_one_classifier():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 4)

        def forward(self, x):
            return self.fc(x), self.fc(-x)

    with pytest.raises(HeadNotFoundError, match="fc is called more than once"):
        locate(Twice(), example=torch.zeros(2, 8))


def test_logits_from_no_module_are_not_guessed():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.scale = nn.Linear(8, 4), nn.Parameter(torch.ones(4))

        def forward(self, x):
            return self.fc(x) * self.scale

    with pytest.raises(HeadNotFoundError, match=r"no linear layer's output is an output of it.*fc \(8 to 4\)"):
        locate(Scaled(), example=torch.zeros(2, 8))
    assert locate(Scaled(), head="fc").in_features == 8


def test_an_unknown_name_is_answered_with_near_ones():
    with pytest.raises(HeadNotFoundError, match=r"AttentionCNN has no module 'emotoin'; near: emotion.*candidates"):
        locate(AttentionCNN(), head="emotoin")
    with pytest.raises(HeadNotFoundError, match="has no module ''"):
        locate(AttentionCNN(), head="")


def test_a_name_without_layers_is_no_classifier():
    with pytest.raises(HeadNotFoundError, match="norm, which is a LayerNorm without a linear or convolution layer"):
        locate(FeatureTransformer(), head="norm")
    with pytest.raises(HeadNotFoundError, match="it has no linear layer"):
        locate(nn.Sequential(nn.ReLU()), head="0")


def test_a_classifier_of_several_layers_is_as_wide_as_its_first():
    place = locate(CNNBiLSTM(), head="head")
    assert (place.in_features, place.num_classes) == (28, 4)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("make", SER_MODELS)
def test_a_dry_run_leaves_the_model_as_it_was(make, training):
    model = make().train(training)
    next(iter(model.children())).train(not training)  # a frozen part
    modules, state = list(model.named_modules()), state_of(model)
    modes = {name: module.training for name, module in modules}
    locate(model, example=speech(), num_classes=CLASSES)
    assert_untouched(model, modules, state, modes)


def test_an_example_that_does_not_fit_leaves_the_model_as_it_was():
    model = AttentionCNN()
    modules, state = list(model.named_modules()), state_of(model)
    with pytest.raises(RuntimeError):
        locate(model, example=torch.zeros(2, 12, 7))
    assert_untouched(model, modules, state, {name: True for name, _ in modules})


def test_what_a_module_keeps_for_eval_mode_does_not_outlive_the_dry_run():
    """As LeViT keeps its attention biases: made in eval mode from the weights of then, dropped by train()."""

    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.kept = nn.Linear(8, 4), None

        def train(self, mode=True):
            self.kept = None if mode else self.kept
            return super().train(mode)

        def forward(self, x):
            if not self.training:
                self.kept = self.fc.weight.sum()
            return self.fc(x)

    model = nn.Sequential(Keeps())
    locate(model, example=torch.zeros(2, 8))
    assert model[0].kept is None


@pytest.fixture
def timm():
    return pytest.importorskip("timm")


def test_a_timm_model_without_a_classifier_says_so(timm):
    for name in ("resnet10t", "deit_tiny_distilled_patch16_224"):
        with pytest.raises(
            HeadNotFoundError, match="without a classifier that can be replaced; create it with num_classes"
        ):
            locate(timm.create_model(name, num_classes=0))


@pytest.mark.parametrize("name", ["coat_lite_tiny", "deit_tiny_distilled_patch16_224", "levit_128s"])
def test_the_dry_run_on_shapes_leaves_a_timm_model_as_it_was(timm, name):
    """CoaT shares modules between its blocks: swapping its tensors in place would leave some without numbers."""
    model = timm.create_model(name, num_classes=4).train()
    modules, state = list(model.named_modules()), state_of(model)
    locate(model)
    assert_untouched(model, modules, state, {name: True for name, _ in modules})
    assert not any(getattr(module, "attention_bias_cache", None) for module in model.modules())


def test_a_head_with_its_pooling_in_front_is_found_behind_the_pooling(timm):
    assert locate(timm.create_model("samvit_base_patch16_224", num_classes=4, depth=1)).name == "head.fc"


@pytest.mark.parametrize("options", [{}, {"in_chans": 1}])
def test_a_head_that_pools_behind_its_classifier_is_seen_for_any_number_of_channels(timm, options):
    place = locate(timm.create_model("resnet50_clip", num_classes=4, **options))
    assert (place.name, place.in_features, place.behind) == ("head.proj", 2048, True)


def test_an_example_tells_the_dry_run_the_size_of_the_images(timm):
    model = timm.create_model(
        "vit_tiny_patch16_224", num_classes=4, img_size=64, depth=1, class_token=False, global_pool="avg"
    )
    assert locate(model).name == locate(model, example=torch.zeros(1, 3, 64, 64)).name == "head"


def test_a_distilled_transformer_for_small_images_is_found_without_an_example(timm):
    model = timm.create_model("deit_tiny_distilled_patch16_224", img_size=32, num_classes=4)
    assert locate(model) == Location(("head", "head_dist"), 192, 4, behind=True)
