"""The neutral pass leaves no trace: statistics after labelled and neutral batches equal those after the labelled alone."""

import copy

import pytest
import timm
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from backbones import create_encoder
from benchmarks.methods import create_method
from dsnet_plugin import DisentangleConfig, neutral_pass, wrap
from tests.dsnet_plugin import ddp_worker
from tests.dsnet_plugin.test_ddp import run

STEPS = 3


class ConvolutionModule(nn.Module):
    """Conformer's: pointwise, GLU, depthwise, batch norm over (N, C, T), SiLU, pointwise, with a residual."""

    def __init__(self, width):
        super().__init__()
        self.norm, self.pointwise = nn.LayerNorm(width), nn.Conv1d(width, 2 * width, 1)
        self.depthwise, self.batch_norm = nn.Conv1d(width, width, 3, padding=1), nn.BatchNorm1d(width)
        self.out = nn.Conv1d(width, width, 1)

    def forward(self, x):
        y = nn.functional.glu(self.pointwise(self.norm(x).transpose(1, 2)), dim=1)
        return x + self.out(nn.functional.silu(self.batch_norm(self.depthwise(y)))).transpose(1, 2)


class Conformer(nn.Module):
    """Attention and convolution blocks; ``checkpoints`` computes them again in the backward pass."""

    def __init__(self, checkpoints=None):
        super().__init__()
        self.embed = nn.Linear(20, 16)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True), ConvolutionModule(16))
            for _ in range(2)
        )
        self.fc = nn.Linear(16, 4)
        self.checkpoints = checkpoints

    def forward(self, x):
        x = self.embed(x)
        for block in self.blocks:
            if self.checkpoints is None or not torch.is_grad_enabled():
                x = block(x)
            else:
                x = checkpoint(block, x, use_reentrant=self.checkpoints == "reentrant")
        return self.fc(x.mean(1))


class SpectralConformer(Conformer):
    """Its embedding's power iteration, and a count of its own, are updated by each forward pass in training."""

    def __init__(self):
        super().__init__()
        self.embed = nn.utils.parametrizations.spectral_norm(self.embed)
        self.register_buffer("passes", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        if self.training:
            self.passes += 1
        return super().forward(x)


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.classifier = create_encoder("cnn", dropout=0.0), nn.Linear(256, 4)

    def forward(self, x):
        return self.classifier(self.encoder(x))


def wrapped(name):
    torch.manual_seed(0)
    if name == "cnn":
        return wrap(CNN(), head="classifier"), (3, 16, 80)
    if name == "timm":
        return wrap(timm.create_model("test_efficientnet", num_classes=4)), (3, 64, 64)
    if name == "spectral":
        return wrap(SpectralConformer(), head="fc"), (9, 20)
    config = DisentangleConfig(dropout=0.0)  # so that gradients are a matter of the data alone
    return wrap(Conformer({"conformer": None}.get(name, name)), head="fc", config=config), (9, 20)


def buffers(model):
    return {name: buffer.clone() for name, buffer in model.named_buffers() if not name.endswith("classifier.1")}


def after(model, shape, references, steps=STEPS):
    """The buffers after some labelled batches, with ``references`` neutral utterances beside each, or features of such."""
    draw = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x, labels = torch.randn(4, *shape, generator=draw), torch.randint(4, (4,), generator=draw)
        neutral = 5 + 3 * torch.randn(3, *shape, generator=draw)
        if references:
            index = torch.arange(4) % references
            given = {"neutral": neutral[:references], "neutral_index": index}
        else:
            given = {"neutral_features": torch.zeros(4, model.head.in_features)}
        model(x, labels=labels, **given).loss.backward()
    return buffers(model)


@pytest.mark.parametrize("references", [1, 3])
@pytest.mark.parametrize("name", ["cnn", "timm", "conformer", "spectral", "reentrant", "not-reentrant"])
def test_buffers_after_neutral_batches_equal_those_after_the_labelled_alone(name, references):
    model, shape = wrapped(name)
    model.train()
    alone, fresh = after(copy.deepcopy(model), shape, references=0), buffers(model)
    beside = after(model, shape, references)
    assert beside.keys() == alone.keys()
    for key, value in beside.items():
        assert torch.equal(value, alone[key]), key
    assert any(not torch.equal(value, fresh[key]) for key, value in alone.items()), "the labelled batches leave a trace"


@pytest.mark.parametrize("references", [0, 3])
@pytest.mark.parametrize("name", ["reentrant", "not-reentrant"])
def test_layers_that_are_computed_again_count_once(name, references):
    (plain, shape), (checkpointed, _) = wrapped("conformer"), wrapped(name)
    expected, found = (after(model.train(), shape, references) for model in (plain, checkpointed))
    assert any(key.endswith("num_batches_tracked") and int(value) == STEPS for key, value in expected.items())
    for key, value in found.items():
        assert torch.allclose(value, expected[key], atol=1e-6), key


@pytest.mark.parametrize("name", ["reentrant", "not-reentrant"])
def test_gradients_under_checkpointing_are_those_without(name):
    with_it, shape = wrapped(name)
    without = copy.deepcopy(with_it)
    without.model.checkpoints = None
    for model in (with_it, without):
        after(model, shape, references=3, steps=1)
    for (key, one), (_, other) in zip(with_it.named_parameters(), without.named_parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=key)


def test_modes_and_buffers_are_put_back_after_a_pass_that_fails():
    encoder = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Flatten(5))
    kept = dict(encoder.named_buffers())
    with pytest.raises(IndexError):
        neutral_pass(encoder, lambda: encoder(torch.randn(3, 4)))
    assert encoder[1].training
    assert all(buffer is kept[name] for name, buffer in encoder.named_buffers())


class FailsOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("out of memory")


def test_modes_are_put_back_by_the_step_after_a_backward_pass_that_failed():
    encoder = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    x = torch.randn(3, 4)
    with pytest.raises(RuntimeError, match="out of memory"):
        neutral_pass(encoder, lambda: encoder(FailsOnce.apply(x.requires_grad_()))).sum().backward()
    neutral_pass(encoder, lambda: encoder(x.detach()))
    assert encoder[1].training
    encoder(x.detach())
    assert encoder[1].num_batches_tracked == 1


def test_a_frozen_batch_norm_stays_frozen():
    encoder = nn.Sequential(nn.BatchNorm1d(4).eval(), nn.Linear(4, 4), nn.BatchNorm1d(4))
    neutral_pass(encoder, lambda: encoder(torch.randn(3, 4)))
    assert [encoder[0].training, encoder[2].training] == [False, True]


def test_one_reference_goes_through_batch_norm_as_in_evaluation():
    encoder = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    encoder(torch.randn(16, 4))
    x_n = torch.randn(1, 4)
    h_n = neutral_pass(encoder, lambda: encoder(x_n))
    torch.testing.assert_close(h_n, encoder.eval()(x_n))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_batch_norm_compiled_by_torchscript_is_treated_alike():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(20, 16), nn.BatchNorm1d(16)).train()
    with torch.no_grad():
        plain(torch.randn(32, 20) * 3 + 1)
    scripted = torch.jit.script(copy.deepcopy(plain))
    x_n = torch.randn(1, 20)
    expected = neutral_pass(plain, lambda: plain(x_n))
    torch.testing.assert_close(neutral_pass(scripted, lambda: scripted(x_n)), expected)
    assert scripted[1].training
    torch.testing.assert_close(scripted[1].running_mean, plain[1].running_mean)


def test_the_method_dsnet_leaves_the_statistics_of_the_labelled_batches_alone():
    torch.manual_seed(0)
    method = create_method("dsnet", create_encoder("cnn", dropout=0.0), 4).train()
    alone = copy.deepcopy(method.encoder)
    x, x_n, labels = torch.randn(4, 3, 16, 80), 9 + torch.randn(2, 3, 16, 80), torch.arange(4)
    method(x, labels, x_n, torch.tensor([0, 1, 0, 1])).loss.backward()
    alone(x)
    for (name, buffer), expected in zip(method.encoder.named_buffers(), alone.buffers(), strict=True):
        assert torch.equal(buffer, expected), name


def test_on_two_processes_the_statistics_are_those_of_the_labelled_batches_alone(tmp_path):
    for case in ("statistics", "statistics-alone"):
        (tmp_path / case).mkdir()
    beside, alone = (run(tmp_path / case, case) for case in ("statistics", "statistics-alone"))
    for rank in range(ddp_worker.RANKS):
        assert beside[rank]["buffers"]["model.norm.num_batches_tracked"] == ddp_worker.STEPS
        torch.testing.assert_close(beside[rank]["buffers"], alone[rank]["buffers"], rtol=0, atol=0)
