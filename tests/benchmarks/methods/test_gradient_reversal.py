import math

import pytest
import torch

from benchmarks.methods.gradient_reversal import reversal_strength, reverse_gradient


def test_it_changes_no_value_and_turns_the_gradient_round():
    x = torch.randn(3, 4, requires_grad=True)
    y = reverse_gradient(x, 0.25)
    assert torch.equal(y, x)
    weight = torch.randn(3, 4)
    (y * weight).sum().backward()
    assert torch.equal(x.grad, -0.25 * weight)


def test_a_gradient_keeps_its_type():
    x = torch.randn(3, 4, dtype=torch.bfloat16, requires_grad=True)
    reverse_gradient(x, 0.3).float().sum().backward()
    assert x.grad.dtype == torch.bfloat16


@pytest.mark.parametrize(("progress", "strength"), [(0.0, 0.0), (0.1, 0.462117), (0.5, 0.986614), (1.0, 0.999909)])
def test_the_ramp_is_ganins(progress, strength):
    assert reversal_strength(progress) == pytest.approx(strength, abs=1e-6)
    assert reversal_strength(progress) == pytest.approx(math.tanh(5 * progress), abs=1e-12)
