"""The maximum mean discrepancy (MMD) between each domain of a batch and the others (Gretton et al., JMLR 2012)."""

import torch
from torch import Tensor

from dsnet_plugin.losses import float32

BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""The bandwidths of the Gaussian kernels, in units of the mean squared distance."""


def mean_squared_mmd(x: Tensor, domains: Tensor, num_domains: int) -> Tensor:
    """The mean over the domains of MMD squared between a domain's rows and all others; computed in float32.

    The kernel is the sum of five Gaussian ones, ``exp(-d^2 / (b * s))`` with s the mean squared distance between two
    rows of x, without gradient, and b of ``BANDWIDTHS``. The estimator is the unbiased one, which leaves out each row's
    kernel with itself: with the one or two rows that a speaker has in a batch, the biased one is large and steep for
    domains that are alike, and outweighs every other loss. Unlike that one it may be below 0. Domains with fewer than two
    rows are left out.

    Args:
        x: features of all domains, shape (N, D).
        domains: the domain of each row, shape (N,), 0 to ``num_domains`` - 1.
        num_domains: their number.

    Returns:
        A scalar; 0 where no domain and its others have two rows each.
    """
    with torch.autocast(x.device.type, enabled=False):
        kernel = _kernel(float32(x))
        members = (domains == torch.arange(num_domains, device=x.device)[:, None]).to(kernel.dtype)
        rest = 1 - members
        n, m = members.sum(1), rest.sum(1)
        compared = (n > 1) & (m > 1)
        # The diagonal, each row with itself, is left out of both means within and does not occur between.
        kernel = kernel - torch.diag_embed(kernel.diagonal())
        within = ((members @ kernel) * members).sum(1) / (n * (n - 1)).clamp(min=1)
        without = ((rest @ kernel) * rest).sum(1) / (m * (m - 1)).clamp(min=1)
        between = ((members @ kernel) * rest).sum(1) / (n * m).clamp(min=1)
        return (compared * (within - 2 * between + without)).sum() / compared.sum().clamp(min=1)


def _kernel(x: Tensor) -> Tensor:
    """The kernel of each row with each other: (N, D) to (N, N)."""
    distances = (x[:, None] - x[None]).square().sum(2)  # not by x^T y, which cancels where features are alike
    pairs = max(1, len(x) * (len(x) - 1))
    scale = (distances.detach().sum() / pairs).clamp(min=1e-12)
    return torch.stack([torch.exp(-distances / (bandwidth * scale)) for bandwidth in BANDWIDTHS]).sum(0)
