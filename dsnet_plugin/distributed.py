"""The losses' batch in data-parallel training: the rows of all ranks, with gradients.

DistributedDataParallel (DDP) averages gradients over ranks. The average of each rank's own loss is not the whole batch's:
correlations do not average, and means over unequal shares do not either. So wherever a gradient may be asked for
(``torch.is_grad_enabled()``) and the default process group has more than one rank, the three losses are those of the
whole batch: the same value on every rank, and gradients whose average over ranks is the whole batch's. The task's loss is
left to the trainer.

- Every rank must compute the same losses in the same order, whatever its rows hold; a row without a neutral reference
  takes part with weight 0. Every rank takes equally many training steps (DDP's ``join()`` does not stand in for these).
- Under ``torch.no_grad()`` a rank computes its own rows' losses and waits for nobody, so that one rank may evaluate alone.
- The backward pass does not communicate: all that follows the exchange is equal on every rank, and so is the gradient that
  comes back. Each rank keeps the part of its own rows, times the number of ranks, by which DDP will divide.
- Without a process group, or with one rank, nothing is exchanged and a compiled graph has no break.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch._compile import _disable_dynamo


def exchanges() -> bool:
    """Whether the losses are those of the rows of all ranks: several ranks, and a gradient may be asked for."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1 and torch.is_grad_enabled()


def whole(tensor: Tensor) -> Tensor:
    """The tensor itself; one that is sharded over ranks (FSDP2) is gathered, for which every rank must call."""
    full_tensor = getattr(tensor, "full_tensor", None)
    return full_tensor() if full_tensor else tensor


def gather_rows(*features: Tensor) -> tuple[Tensor, ...]:
    """The rows of all ranks, in the order of the ranks; the features themselves where nothing is exchanged.

    Args:
        features: matrices of shapes (N_rank, D), (N_rank, D'), ...; N_rank may differ between ranks, the widths may not.

    Returns:
        As many matrices, of shapes (N, D), (N, D'), ..., where N is the sum of N_rank.
    """
    if not exchanges():
        return features
    rows: Tensor = _gather(torch.cat(features, dim=1))
    return torch.split(rows, [x.shape[1] for x in features], dim=1)


def mean_over_rows(values: Tensor, weight: Tensor | None = None) -> Tensor:
    """The weighted mean over the rows of all ranks, or over this rank's where nothing is exchanged.

    Args:
        values: one number a row, shape (N_rank,), floating point.
        weight: shape (N_rank,), at least 0; None is 1 for every row. Some ranks may give None and others not.

    Returns:
        A scalar; 0, connected to ``values``, when all weights are 0.
    """
    if weight is None and not exchanges():
        return values.mean()
    weight = torch.ones_like(values) if weight is None else weight.to(values.dtype)
    total, count = (weight * values).sum(), weight.sum()
    if exchanges():
        total, count = _sum(torch.stack([total, count])).unbind()
    return total / count.clamp_min(torch.finfo(values.dtype).tiny)


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ranks, rank = dist.get_world_size(), dist.get_rank()
        count = torch.tensor([len(x)], device=x.device)
        counts = [torch.empty_like(count) for _ in range(ranks)]
        dist.all_gather(counts, count)
        rows = [int(n) for n in torch.cat(counts).tolist()]
        ctx.ranks, ctx.start, ctx.rows = ranks, sum(rows[:rank]), len(x)
        # A gather takes equal shapes only: every share is padded to the largest, and cut again.
        padded = x.new_zeros(max(rows), x.shape[1])
        padded[: len(x)] = x
        shares = [torch.empty_like(padded) for _ in range(ranks)]
        dist.all_gather(shares, padded)
        return torch.cat([share[:n] for share, n in zip(shares, rows, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0].narrow(0, ctx.start, ctx.rows) * ctx.ranks


class _SumOverRanks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.ranks = dist.get_world_size()
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0] * ctx.ranks


# Between ranks a compiled graph breaks here; DDP breaks it at its buckets as well. This is torch.compiler.disable, but it
# does not import the compiler with this file.
@_disable_dynamo
def _gather(x: Tensor) -> Any:
    return _GatherRows.apply(x)  # type: ignore[no-untyped-call]


@_disable_dynamo
def _sum(x: Tensor) -> Any:
    return _SumOverRanks.apply(x)  # type: ignore[no-untyped-call]
