"""Multiply-accumulate operations, counted in two ways: by the rules of the paper's Table 3, and for any model."""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

from thop import profile
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

M = TypeVar("M", bound=nn.Module)


class _Run(nn.Module):
    """A call of a model as THOP takes it."""

    def __init__(self, model: nn.Module, run: Callable[[Any], object]) -> None:
        super().__init__()
        self.model = model
        self.run = run

    def forward(self) -> None:
        self.run(self.model)


def thop_macs(model: M, run: Callable[[M], object]) -> int:
    """Counts ``run(model)`` by THOP's rules, on a copy: THOP leaves its counters in the modules, where they add up."""
    macs, _ = profile(_Run(copy.deepcopy(model), run), inputs=(), verbose=False)
    return int(macs)


def torch_macs(run: Callable[[], object]) -> int:
    """Counts a call as half of torch's floating-point operations: convolutions and matrix products."""
    # The counter knows no fused attention of the CPU; in its plain form it is two matrix products.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops()) // 2
