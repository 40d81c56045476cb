"""Recomputed batch-norm statistics are those of the data under the present weights, without dropout."""

import pytest
import torch
from torch import nn

from dsnet_plugin import WrapError, recompute_batch_norm, wrap


def model(dropout=0.5):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 5), nn.BatchNorm1d(5)
    )


def test_statistics_are_those_of_all_rows_without_dropout():
    it, x = model(), torch.randn(96, 6)
    recompute_batch_norm(it, [x])
    plain = model(dropout=0.0)
    first = plain[0](x)
    second = plain[4](torch.relu(nn.functional.batch_norm(first, None, None, plain[1].weight, plain[1].bias, True)))
    for norm, seen in ((it[1], first), (it[5], second)):
        torch.testing.assert_close(norm.running_mean, seen.mean(0))
        torch.testing.assert_close(norm.running_var, seen.var(0))


def test_batches_count_by_their_rows():
    it, x = model(), torch.randn(50, 6)
    recompute_batch_norm(it, x.split([40, 8, 2]))
    parts = [it[0](part) for part in x.split([40, 8, 2])]
    expected = (40 * parts[0].var(0) + 8 * parts[1].var(0) + 2 * parts[2].var(0)) / 50
    torch.testing.assert_close(it[1].running_mean, it[0](x).mean(0))
    torch.testing.assert_close(it[1].running_var, expected)


def test_an_evaluation_afterwards_is_free_of_the_lag_of_the_running_averages():
    it, x = model(dropout=0.0), 3 + 2 * torch.randn(256, 6)
    with torch.no_grad():
        it[0].weight.mul_(50)  # as after many steps at once
    it.train()
    expected = it(x)
    recompute_batch_norm(it, [x])
    torch.testing.assert_close(it.eval()(x), expected, rtol=0.01, atol=0.01)


def test_modes_momentum_and_the_count_of_steps_stay():
    it = model()
    it[3].eval()
    it[1].momentum = None
    it(torch.randn(8, 6))
    modes = [part.training for part in it.modules()]
    recompute_batch_norm(it, [torch.randn(8, 6)] * 3)
    assert [part.training for part in it.modules()] == modes
    assert (it[1].momentum, it[5].momentum) == (None, 0.1)
    assert it[1].num_batches_tracked == 1


def test_no_gradient_and_no_random_number_is_taken():
    it, x = model(), torch.randn(8, 6)
    state = torch.get_rng_state()
    recompute_batch_norm(it, [x])
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in it.parameters())


def test_frozen_layers_and_those_that_are_not_reached_keep_their_statistics():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.frozen, self.beside = nn.BatchNorm1d(6), nn.BatchNorm1d(6), nn.BatchNorm1d(6)

        def forward(self, x):
            return self.frozen(self.first(x))

    it = Two()
    it(torch.randn(8, 6))
    it.beside(7 + torch.randn(8, 6))
    it.frozen.eval()
    before = {name: buffer.clone() for name, buffer in it.named_buffers()}
    recompute_batch_norm(it, [torch.randn(64, 6)])
    same = {name for name, buffer in it.named_buffers() if torch.equal(buffer, before[name])}
    assert {name for name in before if name.startswith(("frozen", "beside"))} <= same
    assert "first.running_mean" not in same


@pytest.mark.parametrize("form", [lambda x: x, lambda x: (x,), lambda x: {"input": x}])
def test_a_batch_is_a_tensor_positional_arguments_or_keywords(form):
    it, x = nn.Sequential(nn.BatchNorm1d(6)), torch.randn(64, 6)
    recompute_batch_norm(it if not isinstance(form(x), dict) else it[0], [form(x)])
    torch.testing.assert_close(it[0].running_mean, x.mean(0))


def test_a_wrapped_model_gets_the_statistics_of_its_head_too():
    it = wrap(nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)), head="2")
    recompute_batch_norm(it, torch.randn(64, 6).split(32))
    assert not torch.equal(it.head.classifier[1].running_mean, torch.zeros(64))


@pytest.mark.parametrize("batches", [[torch.randn(8, 6), torch.randn(8, 7)], []])
def test_after_an_error_everything_is_as_before(batches):
    it = model()
    it(torch.randn(8, 6))
    before = {name: buffer.clone() for name, buffer in it.named_buffers()}
    with pytest.raises((RuntimeError, WrapError)):
        recompute_batch_norm(it, batches)
    assert all(part.training for part in it.modules())
    for name, buffer in it.named_buffers():
        assert torch.equal(buffer, before[name]), name


def test_in_eval_mode_it_is_refused_and_without_batch_norm_nothing_runs():
    with pytest.raises(WrapError, match=r"model\.train\(\)"):
        recompute_batch_norm(model().eval(), [torch.randn(8, 6)])
    recompute_batch_norm(nn.Linear(6, 4).eval(), iter(lambda: pytest.fail("no batch is drawn"), None))
