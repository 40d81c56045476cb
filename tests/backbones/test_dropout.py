"""Dropout with its own mask on the CPU: rate, scale, gradient, layout, seed."""

import pytest
import torch

from backbones.dropout import Dropout


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_elements_are_dropped_at_the_rate_and_the_others_scaled_so_that_the_mean_stays(rate, dtype):
    torch.manual_seed(0)
    number = 1_000_000
    y = Dropout(rate)(torch.ones(number, dtype=dtype))
    kept = y[y != 0]
    assert y.dtype == dtype
    assert (kept == torch.tensor(1 / (1 - rate), dtype=dtype)).all()
    # Five standard deviations of a binomial share.
    assert 1 - len(kept) / number == pytest.approx(rate, abs=5 * (rate * (1 - rate) / number) ** 0.5 + 1e-9)


def test_neighbours_are_dropped_independently():
    torch.manual_seed(0)
    dropped = (Dropout(0.5)(torch.ones(1_000_000)) == 0).float()
    for lag in (1, 2, 3, 4, 8):  # four elements share one draw
        assert (dropped[lag:] * dropped[:-lag]).mean().item() == pytest.approx(0.25, abs=0.003)


def test_the_gradient_is_scaled_where_the_output_was_kept_and_zero_elsewhere():
    torch.manual_seed(0)
    x = torch.randn(7, 11, requires_grad=True)
    y = Dropout(0.2)(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.where(y == 0, 0.0, 1.25))
    torch.testing.assert_close(y, x * x.grad)


@pytest.mark.parametrize("shape", [(1,), (5,), (3, 2, 5, 3), (0, 4)])
def test_any_number_of_elements_is_taken(shape):
    torch.manual_seed(0)
    y = Dropout(0.2)(torch.ones(shape))
    assert y.shape == shape
    assert ((y == 0) | (y == 1.25)).all()


def test_channels_last_stays_channels_last_and_other_strides_are_taken():
    torch.manual_seed(0)
    x = torch.randn(2, 8, 6, 4)
    assert Dropout(0.2)(x.to(memory_format=torch.channels_last)).is_contiguous(memory_format=torch.channels_last)
    for strided in (x[:, ::2], x[:, :1].expand(2, 8, 6, 4), x.transpose(1, 3)):
        y = Dropout(0.2)(strided)
        torch.testing.assert_close(y, torch.where(y == 0, 0.0, strided * 1.25))
        assert 0 < (y == 0).float().mean() < 0.5


def test_the_seed_decides_and_each_call_draws_anew():
    dropout, x = Dropout(0.5), torch.ones(1000)
    torch.manual_seed(3)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(3)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)


def test_nothing_is_dropped_in_eval_mode_and_everything_at_rate_1():
    x = torch.randn(10)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(1.0)(x), torch.zeros(10))
    assert Dropout(0.999999)(x).isfinite().all()
