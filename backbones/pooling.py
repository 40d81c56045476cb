"""Pooling over time: the features of frames become those of an utterance; frames of padding do not count."""

import torch
from torch import Tensor, nn


def mean_pool(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over time in float32: (N, D, T) to (N, D).

    Args:
        x: frames.
        mask: (N, T), True for the utterance's own frames, at least one each; None when all are.
    """
    if mask is None:
        return x.float().mean(dim=2)
    return x.float().masked_fill(~mask[:, None], 0).sum(dim=2) / mask.sum(dim=1, keepdim=True)


def mean_std_pool(x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean and standard deviation over time in float32, side by side: (N, D, T) to (N, 2 D).

    Args:
        x: frames.
        mask: see :func:`mean_pool`; the deviation of a single frame is 0.
    """
    mean = mean_pool(x, mask)
    variance = mean_pool((x.float() - mean[:, :, None]).square(), mask)
    return torch.cat([mean, variance.clamp(min=1e-12).sqrt()], dim=1)


class AttentionPool(nn.Module):
    """Attention over time with a weight for each channel: ``h = sum_t softmax_t(att(x)) * sigmoid(val(x))``.

    Args:
        channels: D; two 1x1 convolutions D to D. As in the authors' public code, logits are clamped to -10..10.

    Shape:
        (N, D, T) to (N, D), each value between 0 and 1. ``mask`` (N, T) is True for the utterance's own frames.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Conv1d(channels, channels, kernel_size=1)
        self.value = nn.Conv1d(channels, channels, kernel_size=1)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Weighted mean over time, (N, D, T) to (N, D)."""
        logits = self.attention(x).clamp(-10, 10)
        if mask is not None:
            logits = logits.masked_fill(~mask[:, None], float("-inf"))
        h: Tensor = (logits.softmax(dim=2) * self.value(x).sigmoid()).sum(dim=2)
        return h


def first_places(lengths: Tensor, width: int) -> Tensor:
    """A mask (N, width), True for the first places of each row, as many as ``lengths`` (N,) says."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]
