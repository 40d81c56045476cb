import subprocess
import sys
from pathlib import Path

import pytest
import torch

from backbones import create_encoder, timm_encoder
from dsnet_plugin import ConfigError, DSNetError, ShapeError

timm = pytest.importorskip("timm")
ROOT = Path(__file__).parents[2]

ANY_SIZE = ("resnet18", "mobilenetv3_small_050", "regnetx_002", "convnext_atto")
DYNAMIC = ("vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "eva02_tiny_patch14_224")
RESIZED = ("levit_128s", "mixer_s16_224", "swin_tiny_patch4_window7_224", "inception_v3")


def inputs(rows=2, frames=64):
    return torch.randn(rows, 3, frames, 80) * 4 + 10


@pytest.mark.parametrize("name", ANY_SIZE + DYNAMIC + RESIZED)
def test_any_size_gives_features_of_the_width_that_timm_feeds_its_classifier(name):
    torch.manual_seed(0)
    encoder = create_encoder(f"timm/{name}").eval()
    assert encoder.input_kind == "lmfb"
    assert encoder.num_features == encoder.model.head_hidden_size
    with torch.no_grad():
        for frames in (32, 101):
            assert encoder(inputs(1, frames)).shape == (1, encoder.num_features)
    assert (encoder.input_size is not None) == (name in RESIZED)


def test_the_width_is_the_classifiers_and_not_that_of_the_last_stage():
    encoder = create_encoder("timm/mobilenetv3_small_050")
    assert encoder.num_features == 1024
    assert encoder.model.num_features == 288


def test_a_model_of_a_fixed_size_sees_the_input_resized_to_it_bilinearly():
    torch.manual_seed(0)
    encoder = create_encoder("timm/levit_128s").eval()
    x = inputs()
    assert encoder.input_size == (224, 224)
    normed = encoder.mel_norm(x.transpose(1, 3)).transpose(1, 3)
    resized = torch.nn.functional.interpolate(normed, (224, 224), mode="bilinear")
    assert torch.allclose(encoder(x), encoder.model(resized), atol=1e-5)


def test_an_img_size_replaces_the_models_own():
    encoder = create_encoder("timm/mixer_s16_224", img_size=(64, 80)).eval()
    assert encoder.input_size == (64, 80)
    assert encoder(inputs(frames=50)).shape == (2, 512)


def test_values_are_standardised_over_each_mel_bin_before_the_model():
    torch.manual_seed(0)
    encoder = create_encoder("timm/resnet18").train()
    seen = []
    encoder.model.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    bins = torch.linspace(-50, 50, 80)
    encoder(inputs(4) + bins)
    assert torch.allclose(seen[0].mean((0, 1, 2)), torch.zeros(80), atol=1e-4)
    assert torch.allclose(seen[0].var((0, 1, 2), unbiased=False), torch.ones(80), atol=1e-3)


def test_making_an_encoder_changes_no_statistics_and_leaves_it_in_training_mode():
    encoder = create_encoder("timm/resnet18")
    norms = [m for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all(int(norm.num_batches_tracked) == 0 for norm in norms)
    assert all(module.training for module in encoder.modules())


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "levit_128s"])
def test_every_parameter_receives_a_gradient(name):
    torch.manual_seed(0)
    encoder = create_encoder(f"timm/{name}").train()
    h = encoder(inputs(3))
    (h * torch.randn_like(h)).sum().backward()
    for parameter, value in encoder.named_parameters():
        assert value.grad is not None, parameter
        assert value.grad.isfinite().all(), parameter


def test_options_and_pretrained_go_to_timm(monkeypatch):
    assert create_encoder("timm/resnet18", drop_rate=0.25).model.drop_rate == 0.25
    asked = []
    create = timm.create_model
    monkeypatch.setattr(
        timm, "create_model", lambda name, **options: asked.append(options) or create(name, num_classes=0)
    )
    create_encoder("timm/resnet18", pretrained=True)
    assert asked == [{"pretrained": True, "num_classes": 0}]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("timm/resnet81", {}, r"knows no model 'resnet81'; did you mean .*resnet18"),
        ("timm/qqqqqq", {}, "knows no model 'qqqqqq'; timm.list_models"),
        ("timm/resnet18.nobody_in1k", {}, "Invalid pretrained tag .*list_pretrained"),
        ("timm/resnet18", {"depth": 3}, "does not take these options: .*depth"),
        ("timm/resnet18", {"global_pool": ""}, r"features of shape \(1, 512, 1, 3\); expected \(N, D\)"),
        ("timm/", {}, "unknown encoder 'timm/'; did you mean 'timm/<name>'"),
    ],
)
def test_unknown_names_tags_and_options_are_named_with_what_is_near(name, options, message):
    with pytest.raises(ConfigError, match=message):
        create_encoder(name, **options)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 1, 64, 80), r"\(2, 1, 64, 80\); expected \(N, 3, T, 80\)"),
        ((2, 3, 64, 64), r"\(2, 3, 64, 64\); expected"),
        ((2, 3, 31, 80), "31 frames; .* at least 32"),
    ],
)
def test_inputs_of_another_shape_are_refused(shape, message):
    encoder = create_encoder("timm/mobilenetv3_small_050")
    with pytest.raises(ShapeError, match=message):
        encoder(torch.zeros(shape))


def test_without_timm_the_error_names_the_extra(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(timm_encoder, "import_module", absent)
    with pytest.raises(DSNetError, match=r"pip install 'dsnet_plugin\[timm\]'"):
        create_encoder("timm/resnet18")


def test_the_package_imports_and_the_cnn_works_without_any_extra():
    code = (
        "import sys\n"
        "for name in ('timm', 'transformers', 'torchaudio'): sys.modules[name] = None\n"
        "import torch, backbones\n"
        "print(tuple(backbones.create_encoder('cnn').eval()(torch.zeros(1, 3, 16, 80)).shape))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "(1, 256)\n", done.stderr
