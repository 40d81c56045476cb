"""Dropout with a mask that is cheap on a CPU."""

import torch
from torch import Tensor, nn

_LEVELS = 2**16


class Dropout(nn.Dropout):
    """``nn.Dropout`` that takes 16 random bits an element on a CPU; the rate is rounded to a 65,536th.

    Torch draws a double for each element there, one after another in one thread (except with MKL on Intel's
    processors), which was a sixth of a training step of the paper's encoder. Elsewhere, and compiled, it is torch's own.

    Args:
        p: the rate.
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def forward(self, x: Tensor) -> Tensor:
        """Any floating-point tensor to one of its shape and layout."""
        dropped = round(self.p * _LEVELS)
        if not self.training or x.device.type != "cpu" or torch.compiler.is_compiling() or dropped == _LEVELS:
            return super().forward(x)
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        layout = torch.empty_like(x, device="meta").stride()  # x's own if it is dense, so that the product is fast
        bits = words.view(torch.int16)[: x.numel()].as_strided(x.shape, layout)
        return x * bits.ge_(dropped - _LEVELS // 2).to(x.dtype).mul_(1 / (1 - self.p))
