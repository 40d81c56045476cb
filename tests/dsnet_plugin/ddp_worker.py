"""One rank of a training on two: ``python -m tests.dsnet_plugin.ddp_worker RANK FOLDER CASE``."""

import datetime
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from dsnet_plugin import wrap

RANKS, STEPS, BATCH, SAMPLES = 2, 12, 8, 64


class TinyModel(nn.Module):
    """A convolution with batch normalisation, its mean over time, and a classifier."""

    def __init__(self, reentrant=False):
        super().__init__()
        self.convolution, self.norm = nn.Conv1d(1, 6, 8, stride=4), nn.BatchNorm1d(6)
        self.fc = nn.Linear(6, 2)
        self.reentrant = reentrant

    def forward(self, x):
        h = self.convolution(x[:, None])
        return self.fc(checkpoint(self.rest, h, use_reentrant=True) if self.reentrant else self.rest(h))

    def rest(self, h):
        return self.norm(h).relu().mean(2)


def batch(rank, step, case):
    """Speech of two classes, told by pitch.

    In case ``masked`` rank 1 has no neutral reference at all; in case ``statistics-alone`` both have features of such.
    """
    draw = torch.Generator().manual_seed(1000 * rank + step)
    labels = torch.randint(2, (BATCH,), generator=draw)
    pitch = 0.2 + 0.9 * labels[:, None]
    x = torch.sin(torch.arange(SAMPLES) * pitch) + 0.1 * torch.randn(BATCH, SAMPLES, generator=draw)
    if case == "masked" and rank == 1:
        return {"x": x, "labels": labels, "neutral_mask": torch.zeros(BATCH, dtype=torch.bool)}
    if case == "statistics-alone":
        return {"x": x, "labels": labels, "neutral_features": torch.zeros(BATCH, 6)}
    references = torch.sin(torch.arange(SAMPLES) * torch.tensor([[0.5], [0.7]]))
    index = torch.randint(2, (BATCH,), generator=draw)
    return {"x": x, "labels": labels, "neutral": references, "neutral_index": index}


def main(rank, folder, case):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=(folder / "rendezvous").resolve().as_uri(),
        rank=rank,
        world_size=RANKS,
        timeout=datetime.timedelta(seconds=20),
    )
    torch.manual_seed(rank)  # DDP gives rank 0's weights to all
    reentrant = case == "reentrant"
    model = wrap(TinyModel(reentrant), head="fc")
    model = DistributedDataParallel(model, find_unused_parameters=False, static_graph=reentrant)
    # Equal weights throughout, where batch statistics are compared with those of another training.
    rate = 0 if case.startswith("statistics") else 2e-2
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=rate), []
    for step in range(STEPS):
        loss = model(**batch(rank, step, case)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    without = [name for name, parameter in model.module.named_parameters() if parameter.grad is None]
    weights = dict(model.module.named_parameters())
    found = {"losses": losses, "without_gradient": without, "weights": weights}
    torch.save({**found, "buffers": dict(model.module.named_buffers())}, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
