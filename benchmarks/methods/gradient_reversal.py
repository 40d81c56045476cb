"""The gradient reversal layer of domain-adversarial training (Ganin et al., JMLR 2016)."""

import math
from typing import Any

import torch
from torch import Tensor


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """x itself; in the backward pass its gradient times ``-strength``."""
    reversed_: Tensor = _Reversal.apply(x, strength)  # type: ignore[no-untyped-call]
    return reversed_


def reversal_strength(progress: float) -> float:
    """Ganin's ramp, ``2 / (1 + exp(-10 p)) - 1``: from 0 at the beginning of the training (p = 0) to nearly 1 at its end."""
    return 2 / (1 + math.exp(-10 * progress)) - 1


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None
