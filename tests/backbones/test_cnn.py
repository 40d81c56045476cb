"""The paper's encoder: Table 1's shapes and sizes, its parts by hand, and how encoders are made by name."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import backbones
from backbones import AttentionPool, CNNEncoder, create_encoder, list_encoders
from backbones.dropout import Dropout
from dsnet_plugin import ConfigError, ShapeError

ROOT = Path(backbones.__file__).parents[1]


def inputs(rows=2, frames=16, seed=0):
    return torch.randn(rows, 3, frames, 80, generator=torch.Generator().manual_seed(seed))


def test_the_encoder_has_the_papers_parameters():
    assert sum(p.numel() for p in CNNEncoder().parameters()) == 1_210_304


def test_600_frames_pass_through_the_shapes_of_table_1():
    encoder, shapes = CNNEncoder().eval(), []
    for block in encoder.blocks:
        block.register_forward_hook(lambda _, __, output: shapes.append(tuple(output.shape)))
    encoder.pool.register_forward_pre_hook(lambda _, arguments: shapes.append(tuple(arguments[0].shape)))
    with torch.no_grad():
        h = encoder(inputs(1, 600))
    assert shapes == [(1, 32, 300, 40), (1, 64, 150, 20), (1, 128, 75, 10), (1, 256, 37, 5), (1, 256, 37)]
    assert h.shape == (1, 256)


def test_each_block_is_convolution_norm_relu_pool_and_dropout():
    for block in CNNEncoder(dropout=0.3).blocks:
        assert {type(m) for m in block} == {nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, Dropout}
        assert block[0].kernel_size == (5, 5)
        assert block[0].bias is None
        assert block[4].p == 0.3
    assert CNNEncoder().blocks[0][4].p == 0.2


def test_a_block_gives_values_and_gradients_of_the_papers_order_relu_before_pool():
    block, results = CNNEncoder(dropout=0.0).blocks[0], []
    convolution, norm, pool, *_ = block
    for modules in (block, nn.Sequential(convolution, norm, nn.ReLU(), pool)):
        x = inputs(2, 17).requires_grad_()
        y = modules(x)
        gradients = torch.autograd.grad((y * y.detach().cos()).sum(), [x, *block.parameters()])
        results.append([y, *gradients])
    assert (results[0][0] == 0).any()  # windows that ReLU closes
    for own, papers in zip(*results, strict=True):
        assert torch.equal(own, papers)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("frames", [16, 17, 31, 50])
def test_any_length_from_16_frames_gives_features_between_0_and_1(frames, train):
    encoder = CNNEncoder().train(train)
    h = encoder(inputs(2, frames))
    assert h.shape == (2, encoder.num_features) == (2, 256)
    assert ((h > 0) & (h < 1)).all()


def test_mel_norm_standardises_each_bin_over_utterances_channels_and_time():
    x = inputs(4, 16) * torch.linspace(0.5, 9, 80) + torch.linspace(-20, 20, 80)
    encoder, seen = CNNEncoder(), []
    encoder.blocks.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].detach()))
    encoder(x)
    columns = x.double().movedim(3, 0).reshape(80, -1)
    expected = (columns - columns.mean(1, keepdim=True)) / columns.std(1, keepdim=True, correction=0)
    expected = expected.reshape(80, 4, 3, 16).movedim(0, 3)
    torch.testing.assert_close(seen[0], expected.float(), rtol=1e-3, atol=1e-4)


def test_attention_pool_weighs_each_channel_over_time():
    torch.manual_seed(0)
    pool, x = AttentionPool(5), torch.randn(2, 5, 7)
    logits = torch.einsum("oc,nct->not", pool.attention.weight[:, :, 0], x) + pool.attention.bias[:, None]
    values = torch.einsum("oc,nct->not", pool.value.weight[:, :, 0], x) + pool.value.bias[:, None]
    weights = logits.exp() / logits.exp().sum(2, keepdim=True)
    torch.testing.assert_close(pool(x), (weights / (1 + (-values).exp())).sum(2))


@pytest.mark.parametrize(
    ("inputs", "logits"), [([50.0, 20.0, 9.0], [10, 10, 9]), ([-9.5, -11.0, -70.0], [-9.5, -10, -10])]
)
def test_attention_logits_are_clamped_at_plus_and_minus_10(inputs, logits):
    pool = AttentionPool(1)
    with torch.no_grad():
        for convolution, weight in ((pool.attention, 1.0), (pool.value, 0.01)):
            convolution.weight.fill_(weight)
            convolution.bias.zero_()
    weights = [math.exp(logit) for logit in logits]
    values = [1 / (1 + math.exp(-0.01 * value)) for value in inputs]
    expected = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
    assert pool(torch.tensor([[inputs]])).item() == pytest.approx(expected, rel=1e-6)


def test_frequency_is_averaged_before_the_attention():
    encoder, seen = CNNEncoder().eval(), {}
    encoder.blocks.register_forward_hook(lambda _, __, output: seen.update(blocks=output))
    encoder.pool.register_forward_pre_hook(lambda _, arguments: seen.update(pooled=arguments[0]))
    encoder(inputs(2, 40))
    torch.testing.assert_close(seen["pooled"], sum(seen["blocks"].unbind(3)) / 5)


def test_convolutions_start_xavier_uniform_with_zero_biases():
    convolutions = [m for m in CNNEncoder().modules() if isinstance(m, nn.Conv1d | nn.Conv2d)]
    assert len(convolutions) == 6
    for convolution in convolutions:
        fans = (convolution.in_channels + convolution.out_channels) * math.prod(convolution.kernel_size)
        bound = math.sqrt(6 / fans)
        assert convolution.weight.abs().max() <= bound
        assert convolution.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)
        assert convolution.bias is None or (convolution.bias == 0).all()


def test_reset_parameters_gives_another_fresh_encoder():
    torch.manual_seed(0)
    fresh, encoder = CNNEncoder(), CNNEncoder()
    with torch.no_grad():
        encoder(inputs(4))
        for parameter in encoder.parameters():
            parameter.add_(1)
    torch.manual_seed(1)
    encoder.reset_parameters()
    for (name, value), (_, other) in zip(encoder.state_dict().items(), fresh.state_dict().items(), strict=True):
        if value.dim() > 2:  # convolutions
            assert torch.corrcoef(torch.stack([value.flatten(), other.flatten()]))[0, 1].abs() < 0.1, name
            assert value.std().item() == pytest.approx(other.std().item(), rel=0.1), name
        else:
            assert torch.equal(value, other), name


def test_batch_norms_start_as_the_identity():
    norms = [m for m in CNNEncoder().modules() if isinstance(m, nn.BatchNorm2d)]
    assert [norm.num_features for norm in norms] == [80, 32, 64, 128, 256]
    assert all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in norms)


def test_every_parameter_receives_a_gradient():
    torch.manual_seed(0)
    encoder = CNNEncoder()
    (encoder(inputs(4, 48)) * torch.randn(4, 256)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 1, 32, 80), r"\(2, 1, 32, 80\); expected \(N, 3, T, 80\)"),
        ((2, 3, 32, 64), r"\(2, 3, 32, 64\); expected \(N, 3, T, 80\)"),
        ((3, 32, 80), r"\(3, 32, 80\); expected"),
        ((2, 3, 15, 80), "15 frames; .* at least 16"),
    ],
)
def test_inputs_of_another_shape_are_refused(shape, message):
    with pytest.raises(ShapeError, match=message):
        CNNEncoder()(torch.zeros(shape))


@pytest.mark.parametrize("name", [name for name in list_encoders() if "<" not in name])
def test_every_listed_encoder_can_be_made_and_says_what_it_takes_and_gives(name):
    encoder = create_encoder(name).eval()
    assert encoder.input_kind == "lmfb"
    assert encoder(inputs()).shape == (2, encoder.num_features)


def test_encoders_are_listed_sorted_and_take_options():
    assert list_encoders() == sorted(list_encoders())
    assert "cnn" in list_encoders()
    assert create_encoder("cnn", dropout=0.1).blocks[0][4].p == 0.1


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cnnn", {}, "unknown encoder 'cnnn'; did you mean 'cnn'"),
        ("wavlm", {}, "unknown encoder 'wavlm'; known: .*cnn"),
        ("cnn", {"depth": 3}, "encoder 'cnn' has no option 'depth'; it takes dropout"),
    ],
)
def test_unknown_names_and_options_are_named_with_what_is_near(name, options, message):
    with pytest.raises(ConfigError, match=message):
        create_encoder(name, **options)


def test_encoders_need_no_torchaudio():
    code = (
        "import sys\n"
        "sys.modules['torchaudio'] = None\n"  # importing it raises ModuleNotFoundError
        "import torch, backbones\n"
        "print(tuple(backbones.create_encoder('cnn').eval()(torch.zeros(1, 3, 16, 80)).shape))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "(1, 256)\n", done.stderr
