import pytest
import torch
from safetensors.torch import load_file, save_file

from backbones import FeatureEncoder, create_encoder, create_frozen_encoder
from dsnet_plugin import ConfigError
from tests.backbones.tiny_speech_models import save_tiny

timm = pytest.importorskip("timm")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    torch.manual_seed(0)
    return save_tiny(tmp_path_factory.mktemp("models") / "whisper", "whisper")


@pytest.fixture(scope="module")
def convnext(tmp_path_factory):
    """Weights of a tiny timm model in a safetensors file."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("timm") / "model.safetensors"
    save_file(timm.create_model("test_convnext", num_classes=0).state_dict(), path)
    return path


def waves(rows=3, samples=9_000):
    torch.manual_seed(1)
    return 0.1 * torch.randn(rows, samples)


def test_a_frozen_encoder_gives_the_hidden_states_that_the_trainable_one_pools(whisper):
    frozen = create_frozen_encoder(f"hf/{whisper}", layer_weights=True)
    with torch.no_grad():
        expected = create_encoder(f"hf/{whisper}", layer_weights=True).eval()(waves())
    encoded = frozen(waves())
    assert encoded.shape == (3, frozen.states, frozen.width) == (3, 3, 16)
    assert torch.allclose(encoded.mean(1), expected, atol=1e-5)  # layer weights begin equal
    last = create_frozen_encoder(f"hf/{whisper}")(waves())
    assert torch.allclose(last[:, 0], encoded[:, -1], atol=1e-5)


def test_nothing_of_it_can_be_trained_and_it_stays_in_eval_mode(whisper):
    frozen = create_frozen_encoder(f"hf/{whisper}", layer_weights=True).train()
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert not any(module.training for module in frozen.modules())
    assert not frozen(waves()).requires_grad


def test_the_digest_names_weights_and_settings_and_not_the_place(whisper, tmp_path):
    digest = create_frozen_encoder(f"hf/{whisper}").digest
    torch.manual_seed(0)
    moved = save_tiny(tmp_path / "moved", "whisper")
    assert create_frozen_encoder(f"hf/{moved}").digest == digest
    others = [
        create_frozen_encoder(f"hf/{whisper}", **o).digest for o in ({"pooling": "mean_std"}, {"layer_weights": True})
    ]
    weights = load_file(moved / "model.safetensors")
    weights["encoder.layer_norm.bias"][3] += 1e-3
    save_file(weights, moved / "model.safetensors", metadata={"format": "pt"})
    others.append(create_frozen_encoder(f"hf/{moved}").digest)
    assert len({digest, *others}) == 4


def test_a_frozen_timm_model_standardises_each_utterance_by_itself(convnext):
    frozen = create_frozen_encoder("timm/test_convnext", checkpoint_path=str(convnext))
    torch.manual_seed(2)
    x = 4 * torch.randn(2, 3, 64, 80) + 12
    encoded = frozen(x)
    assert encoded.shape == (2, 1, frozen.width)
    assert torch.allclose(frozen(x[:1]), encoded[:1], atol=1e-5)
    assert torch.allclose(frozen(3 * x - 5), encoded, atol=1e-3)
    model = timm.create_model("test_convnext", num_classes=0, checkpoint_path=str(convnext)).eval()
    standardised = (x - x.mean((2, 3), keepdim=True)) / x.var((2, 3), correction=0, keepdim=True).sqrt()
    with torch.no_grad():
        assert torch.allclose(model(standardised), encoded[:, 0], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cnn", {}, "freeze='all' on cnn, which has no pretrained weights"),
        ("timm/test_convnext", {}, "without pretrained weights"),
        ("timm/test_convnext", {"checkpoint_path": "a.pth"}, "expected a .safetensors file, never pickle"),
        ("hf/FOLDER", {"pooling": "attention"}, "pooling='attention' learns"),
        (
            "hf/FOLDER",
            {"layers": "weighted"},
            "no option 'layers'; it takes freeze, gradient_checkpointing, layer_weights, pooling",
        ),
    ],
)
def test_what_cannot_be_frozen_is_refused_in_one_line(whisper, name, options, message):
    with pytest.raises(ConfigError, match=message):
        create_frozen_encoder(name.replace("FOLDER", str(whisper)), **options)


def test_what_learns_on_top_weights_normalised_states_and_projects_them():
    torch.manual_seed(3)
    encoder = FeatureEncoder(3, 16, num_features=8).eval()
    with torch.no_grad():
        encoder.layer_weights.copy_(torch.tensor([0.3, -1.0, 2.0]))
    x = torch.randn(5, 3, 16) * torch.tensor([1.0, 50.0, 0.01])[:, None]
    normalised = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()
    weighted = (normalised * encoder.layer_weights.softmax(0)[None, :, None]).sum(1)
    linear, norm = encoder.projection[0], encoder.projection[1]
    with torch.no_grad():
        expected = norm(weighted @ linear.weight.T + linear.bias).relu()
        assert torch.allclose(encoder(x), expected, atol=1e-5)


def test_a_second_one_is_drawn_anew():
    torch.manual_seed(4)
    encoder = FeatureEncoder(3, 16)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with torch.no_grad():
        encoder.layer_weights.fill_(7)
    encoder.reset_parameters()
    assert not torch.equal(encoder.projection[0].weight, before["projection.0.weight"])
    assert torch.equal(encoder.layer_weights, torch.zeros(3))
