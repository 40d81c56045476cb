"""The losses on several processes against one process with the whole batch.

Each group of processes starts once, computes all that the tests compare, and leaves it in a file a rank.
"""

import time
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dsnet_plugin import DisentangleHead, calibration_loss, concordance_loss, orthogonality_loss, reconstruction_loss

SECONDS = 90  # a group that has not ended by then hangs
SHARES = {  # the rows of each rank
    2: {"even": (4, 4), "uneven": (6, 1)},
    4: {"even": (3, 3, 3, 3), "uneven": (5, 1, 2, 4)},
}
WEIGHTS = ["none", "fractions", "mask", "rank 0 without reference", "nobody has a reference", "rank 0 gives no weight"]
LOSSES = (
    [f"orthogonality {kind} {reduction}" for kind in ("zscore", "row_norm") for reduction in ("mean", "sum")]
    + [f"reconstruction {reduction}" for reduction in ("mean", "sum")]
    + ["concordance"]
    + [f"calibration {kind}, {weight}" for kind in ("sym_kl", "js") for weight in WEIGHTS]
)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}  # of the largest entry


class Siamese(nn.Module):
    """Encoder, two projectors, restorer."""

    def __init__(self, dtype):
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.p_er, self.p_ei = (
            nn.Sequential(nn.Linear(width, out, dtype=torch.float64), nn.Tanh())
            for width, out in ((6, 5), (5, 4), (5, 5))
        )
        self.restorer = nn.Linear(9, 5, dtype=torch.float64)
        self.to(dtype)

    def forward(self, name, x, x_n, weight=None):
        h, h_n = self.encoder(x), self.encoder(x_n)
        z_er, z_ei = self.p_er(h), self.p_ei(h)
        h_hat = self.restorer(torch.cat([z_er, z_ei], dim=1))
        loss, *options = name.split(",")[0].split()
        if loss == "orthogonality":
            value = orthogonality_loss(z_er, z_ei, *options)
        elif loss == "reconstruction":
            value = reconstruction_loss(h, h_hat, *options)
        elif loss == "concordance":
            value = concordance_loss(h, h_n)
        else:
            value = calibration_loss(z_ei, h_n, *options, temperature=0.5, weight=weight)
        # DDP expects a gradient of every parameter.
        return value, value + 0 * sum(parameter.sum() for parameter in self.parameters())


def batch(shares, dtype):
    generator = torch.Generator().manual_seed(1)
    x, x_n = (torch.randn(sum(shares), 6, generator=generator, dtype=torch.float64) for _ in range(2))
    # Ranks whose rows differ in their mean and spread, so that statistics of a rank are not those of the batch.
    rank = torch.repeat_interleave(torch.arange(len(shares)), torch.tensor(shares)).unsqueeze(1)
    return (x * (1 + rank) + rank).to(dtype), x_n.to(dtype)


def weights(name, shares, dtype):
    """For the whole batch; None is no weight."""
    n = sum(shares)
    if name == "fractions":
        return torch.linspace(0.5, 2, n).to(dtype)
    if name == "nobody has a reference":
        return torch.zeros(n, dtype=torch.bool)
    mask = torch.arange(n) % 3 != 1
    mask[: shares[0]] &= name != "rank 0 without reference"
    if name == "rank 0 gives no weight":
        mask[: shares[0]] = True
    return None if name == "none" else mask


def inputs(name, shares, dtype):
    return *batch(shares, dtype), weights(name.partition(", ")[2], shares, dtype)


def value_and_gradients(model, *arguments):
    model.zero_grad()
    value, connected = model(*arguments)
    connected.backward()
    return value.item(), [parameter.grad.clone() for parameter in model.parameters()]


def head_and_batch(rows, dtype):
    torch.manual_seed(2)
    head = DisentangleHead(6, 3).to(torch.float64)
    h, h_n = torch.randn(rows, 6, dtype=torch.float64), torch.randn(rows, 6, dtype=torch.float64)
    return head.to(dtype), h.to(dtype), h_n.to(dtype), torch.arange(rows) % 3


def regularisers_of_head(head, h, labels, neutral, mask):
    out = head(h, labels=labels, neutral=neutral, neutral_mask=mask)
    (out.loss - out.losses["task"]).backward()
    losses = {name: loss.item() for name, loss in out.losses.items() if name != "task"}
    return losses, [parameter.grad.clone() for parameter in head.parameters()]


def own_rows(x, shares, rank):
    return None if x is None else x.split(list(shares))[rank]


# --- what each process does -------------------------------------------------------------------------------------------


def work(rank, world, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{folder}/rendezvous", timedelta(seconds=SECONDS), world_size=world, rank=rank
    )
    results = {}
    for dtype in TOLERANCE:
        ddp = DistributedDataParallel(Siamese(dtype))
        for shares in SHARES[world].values():
            for name in LOSSES:
                x, x_n, weight = (own_rows(t, shares, rank) for t in inputs(name, shares, dtype))
                if name.endswith("rank 0 gives no weight") and rank == 0:
                    weight = None
                results[name, shares, dtype] = value_and_gradients(ddp, name, x, x_n, weight)
        results["head", dtype] = work_head(rank, world, dtype)
    results["alone"] = work_alone(rank, world)
    if world == 2:  # compiling takes its time
        results["compiled"] = work_compiled(rank, world)
    torch.save(results, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def work_head(rank, world, dtype):
    """The first rank has no reference at all, and passes none."""
    shares = (2, *[3] * (world - 1))
    head, h, h_n, labels = head_and_batch(sum(shares), dtype)
    h, h_n, labels = (own_rows(t, shares, rank) for t in (h, h_n, labels))
    mask = torch.full((len(h),), rank > 0)
    return regularisers_of_head(DistributedDataParallel(head), h, labels, h_n if rank else None, mask)


def work_alone(rank, world):
    """One rank differentiates, and then evaluates, while the others have gone on."""
    shares, dtype = SHARES[world]["uneven"], torch.float64
    model, found = Siamese(dtype), {}
    for name in LOSSES:
        own = [own_rows(t, shares, rank) for t in inputs(name, shares, dtype)]
        value, connected = model(name, *own)
        if rank == 0:
            connected.backward()
            with torch.no_grad():
                found[name] = value.item(), model(name, *own)[0].item()
    return found


def work_compiled(rank, world):
    shares, dtype = SHARES[world]["uneven"], torch.float64
    ddp, found = DistributedDataParallel(torch.compile(Siamese(dtype), backend="eager", dynamic=True)), {}
    for name in ("orthogonality zscore mean", "calibration js, mask"):
        found[name] = value_and_gradients(ddp, name, *(own_rows(t, shares, rank) for t in inputs(name, shares, dtype)))
    return found


# --- comparison -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[2, 4], ids=["2 processes", "4 processes"])
def group(request, tmp_path_factory):
    """The number of processes, and what each of them found."""
    world, folder = request.param, tmp_path_factory.mktemp("group")
    processes = mp.spawn(work, (world, str(folder)), nprocs=world, join=False)
    end = time.monotonic() + SECONDS
    try:
        while not processes.join(timeout=1):
            if time.monotonic() > end:
                pytest.fail(f"{world} processes hang: after {SECONDS} s they have not ended")
    finally:
        for process in processes.processes:
            process.kill()
    return world, [torch.load(folder / f"{rank}.pt") for rank in range(world)]


def assert_near(found, expected, tolerance):
    """To a part of each tensor's largest entry; zero must be zero."""
    for got, want in zip(found, expected, strict=True):
        assert (got.double() - want).abs().max() <= tolerance * want.abs().max()


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", LOSSES)
def test_every_rank_has_the_loss_and_the_gradients_of_the_whole_batch(group, name, dtype):
    world, ranks = group
    for shares in SHARES[world].values():
        value, gradients = value_and_gradients(Siamese(torch.float64), name, *inputs(name, shares, torch.float64))
        for found, found_gradients in (results[name, shares, dtype] for results in ranks):
            assert found == pytest.approx(value, rel=TOLERANCE[dtype], abs=0)
            assert_near(found_gradients, gradients, TOLERANCE[dtype])


def test_the_loss_of_the_whole_batch_is_not_the_mean_of_the_ranks_losses():
    """Else the test above would hold for losses that know nothing of other ranks."""
    model = Siamese(torch.float64)
    for name in LOSSES:
        if not name.endswith("nobody has a reference"):
            shares = SHARES[2]["uneven"]
            whole = inputs(name, shares, torch.float64)
            ranks = [model(name, *(own_rows(t, shares, rank) for t in whole))[0].item() for rank in (0, 1)]
            assert sum(ranks) / 2 != pytest.approx(model(name, *whole)[0].item(), rel=1e-3), name


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_a_head_whose_first_rank_has_no_reference_trains_as_on_the_whole_batch(group, dtype):
    world, ranks = group
    head, h, h_n, labels = head_and_batch(2 + 3 * (world - 1), torch.float64)
    losses, gradients = regularisers_of_head(head, h, labels, h_n, torch.arange(len(h)) >= 2)
    for found, found_gradients in (results["head", dtype] for results in ranks):
        assert found == pytest.approx(losses, rel=TOLERANCE[dtype], abs=0)
        assert_near(found_gradients, gradients, TOLERANCE[dtype])


@pytest.mark.parametrize("name", LOSSES)
def test_a_rank_differentiates_alone_and_without_gradients_computes_its_own_rows_loss(group, name):
    world, (first, *_) = group
    shares = SHARES[world]["uneven"]
    model, whole = Siamese(torch.float64), inputs(name, shares, torch.float64)
    value, without_gradients = first["alone"][name]
    assert value == pytest.approx(model(name, *whole)[0].item(), rel=1e-12, abs=0)
    own = model(name, *(own_rows(t, shares, 0) for t in whole))[0].item()
    assert without_gradients == pytest.approx(own, rel=1e-12, abs=0)


@pytest.mark.parametrize("name", ["orthogonality zscore mean", "calibration js, mask"])
def test_a_compiled_model_has_the_gradients_of_the_whole_batch(group, name):
    world, ranks = group
    if world != 2:
        pytest.skip("compiled on 2 processes alone")
    shares = SHARES[world]["uneven"]
    value, gradients = value_and_gradients(Siamese(torch.float64), name, *inputs(name, shares, torch.float64))
    for found, found_gradients in (results["compiled"][name] for results in ranks):
        assert found == pytest.approx(value, rel=1e-12)
        assert_near(found_gradients, gradients, 1e-12)


# --- one process ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["no group", "a group of one"])
def one_process(request, tmp_path, monkeypatch):
    """A process in which every collective fails."""
    if request.param == "a group of one":
        dist.init_process_group("gloo", f"file://{tmp_path}/rendezvous", world_size=1, rank=0)
    for collective in ("all_reduce", "all_gather", "broadcast", "all_gather_into_tensor", "all_gather_object"):
        monkeypatch.setattr(dist, collective, lambda *_, **__: pytest.fail("a collective in one process"))
    yield
    if request.param == "a group of one":
        dist.destroy_process_group()


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("name", LOSSES)
def test_one_process_calls_no_collective(name):
    shares = SHARES[2]["uneven"]
    value, gradients = value_and_gradients(Siamese(torch.float64), name, *inputs(name, shares, torch.float64))
    assert value > 0 or name.endswith("nobody has a reference")
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.usefixtures("one_process")
def test_one_process_compiles_the_losses_without_a_graph_break():
    model = Siamese(torch.float64)
    for name in ("orthogonality zscore mean", "reconstruction mean", "calibration sym_kl, mask"):
        arguments = inputs(name, (4, 4), torch.float64)
        torch._dynamo.reset()
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        value, gradients = value_and_gradients(compiled, name, *arguments)
        expected, expected_gradients = value_and_gradients(model, name, *arguments)
        assert value == pytest.approx(expected, rel=1e-12)
        assert_near(gradients, expected_gradients, 1e-12)
