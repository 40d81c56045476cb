"""The optimiser behind every method: one Adam, of which a step moves the parameters it is asked to move."""

from collections.abc import Iterable
from itertools import chain

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from benchmarks.methods import Losses, Method


def make_adam(method: Method, learning_rate: float) -> torch.optim.Adam:
    """Adam over all parameters of a method; each has its own moments, so that one instance serves alternating
    updates."""
    device = next(method.parameters()).device
    return torch.optim.Adam(method.parameters(), lr=learning_rate, fused=device.type in ("cpu", "cuda"))


class AdamStep:
    """What :class:`benchmarks.methods.Step` promises, for one method.

    Args:
        method: what is trained.
        optimizer: from :func:`make_adam`.
        accelerator: does the backward pass.
    """

    def __init__(self, method: Method, optimizer: torch.optim.Optimizer, accelerator: Accelerator) -> None:
        self.method = method
        self.optimizer = optimizer
        self.accelerator = accelerator
        self.progress = 0.0
        self.phase = method.phases[0]
        self.watching = False
        self.gradient_norms: dict[str, Tensor] = {}

    def update(self, loss: Tensor, *groups: Iterable[nn.Parameter]) -> None:
        """See :meth:`benchmarks.methods.Step.update`."""
        parameters = [list(group) for group in groups] or [list(self.method.parameters())]
        self.optimizer.zero_grad()
        moved = [p for p in chain(*parameters) if p.requires_grad]
        with torch.autocast(loss.device.type, enabled=False):  # backward runs in the types that forward chose
            self.accelerator.backward(loss, inputs=moved)
        if self.method.clip_norm is not None:
            for group in parameters:
                nn.utils.clip_grad_norm_(group, self.method.clip_norm)
        self.optimizer.step()
        torch.clear_autocast_cache()  # else what is computed in the same autocast goes on with the weights from before

    def watch(self, losses: Losses) -> None:
        """See :meth:`benchmarks.methods.Step.watch`; the last norms are in ``gradient_norms``."""
        if not self.watching:
            return
        encoder = [p for p in self.method.encoder.parameters() if p.requires_grad]
        for name, loss in losses.items():
            if loss.requires_grad and encoder:
                gradients = torch.autograd.grad(loss, encoder, retain_graph=True, allow_unused=True)
                norms = [torch.linalg.vector_norm(gradient.float()) for gradient in gradients if gradient is not None]
                if norms:
                    self.gradient_norms[name] = torch.linalg.vector_norm(torch.stack(norms))
