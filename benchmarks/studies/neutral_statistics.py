"""The statistics that batch norm may use in the neutral pass: DSNet's own choice and those it was chosen over."""

from contextlib import ExitStack

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones.frontend import NUM_MEL_BINS
from benchmarks.methods.dsnet import DSNet


class OwnStatistics(DSNet):
    """DSNet whose references are normalised by one another: the neutral batch's own mean and variance, traceless."""

    def encode(self, inputs: Tensor, neutral: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """See :meth:`DSNet.encode`."""
        if neutral is None:
            return super().encode(inputs, neutral)
        norms = _norms(self.encoder)
        for norm in norms:
            norm.track_running_stats = False  # which leaves batch statistics, and no update
        h_n = self.encoder(neutral)
        for norm in norms:
            norm.track_running_stats = True
        return self.encoder(inputs), h_n


class LabelledStatistics(DSNet):
    """DSNet whose references are normalised by the labelled batch's mean and variance, detached."""

    def encode(self, inputs: Tensor, neutral: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """See :meth:`DSNet.encode`."""
        if neutral is None:
            return super().encode(inputs, neutral)
        seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}

        def keep(norm: nn.Module, arguments: tuple[Tensor]) -> None:
            x = arguments[0].detach().float().transpose(0, 1).flatten(1)
            seen[norm] = x.mean(1), x.var(1, unbiased=False)

        norms = _norms(self.encoder)
        with ExitStack() as hooks:
            for norm in norms:
                hooks.callback(norm.register_forward_pre_hook(keep).remove)
            h = self.encoder(inputs)
        running = [(norm.running_mean, norm.running_var) for norm in norms]
        for norm in norms:
            norm.running_mean, norm.running_var = seen[norm]
            norm.training = False
        h_n = self.encoder(neutral)
        for norm, (mean, variance) in zip(norms, running, strict=True):
            norm.running_mean, norm.running_var = mean, variance
            norm.training = True
        return h, h_n


class LinearEncoder(nn.Module):
    """The smallest encoder with batch norm: mean and deviation over time of log-mel features, Linear, BN, ReLU.

    Shape:
        (N, 3, T, 80) to (N, 256).
    """

    num_features = 256
    input_kind = "lmfb"

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * 3 * NUM_MEL_BINS, 256), nn.BatchNorm1d(256), nn.ReLU())

    def forward(self, inputs: Tensor) -> Tensor:
        """Log-mel features with deltas (N, 3, T, 80) to h (N, 256)."""
        h: Tensor = self.layers(torch.cat([inputs.mean(2), inputs.std(2)], dim=2).flatten(1))
        return h


CHOICES: dict[str, type[DSNet]] = {"running": DSNet, "own": OwnStatistics, "labelled": LabelledStatistics}
"""DSNet by the statistics of its neutral pass; ``running`` is what :func:`dsnet_plugin.neutral_pass` does."""


def _norms(encoder: nn.Module) -> list[_BatchNorm]:
    return [module for module in encoder.modules() if isinstance(module, _BatchNorm) and module.training]
