"""A model sharded over two processes by fully_shard (FSDP2): it trains, is saved and stripped as one that is not sharded."""

import time
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from dsnet_plugin import DisentangleConfig, load_pretrained, wrap

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch was built without torch.distributed")

RANKS, SECONDS = 2, 90
X = torch.linspace(-1, 1, 8 * 10).reshape(8, 10).mul(9).sin()
Y = torch.arange(8) % 3


def model():
    torch.manual_seed(0)
    made = nn.Sequential(nn.Linear(10, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 3))
    made[0].requires_grad_(False)
    return wrap(made, head="4", config=DisentangleConfig(dropout=0)).train()


def step(trained, rows=slice(None)):
    optimizer = torch.optim.SGD([p for p in trained.parameters() if p.requires_grad], 0.1)
    trained(X[rows], labels=Y[rows], neutral=X[rows].flip(1)).loss.backward()
    optimizer.step()


def work(rank, folder):
    from torch.distributed.fsdp import FSDPModule, fully_shard

    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{folder}/rendezvous", timedelta(seconds=SECONDS), world_size=RANKS, rank=rank
    )
    mesh = dist.init_device_mesh("cpu", (RANKS,))
    sharded = model()
    for part in (sharded.model[0], sharded.model[2], sharded):
        fully_shard(part, mesh=mesh)
    step(sharded, slice(4 * rank, 4 * rank + 4))
    sharded.save_pretrained(f"{folder}/saved")
    stripped = sharded.strip()
    again = load_pretrained(f"{folder}/saved", unwrapped())
    with torch.no_grad():
        found = {"stripped": stripped(X), "loaded": again(X), "sharded": sharded.eval()(X)}
        found["stripped after"] = sharded.strip()(X)
    plain = not any(isinstance(part, FSDPModule) or hasattr(part, "_get_fsdp_state") for part in stripped.modules())
    plain &= not any(hasattr(value, "full_tensor") for value in stripped.state_dict().values())
    plain &= not any(part._forward_pre_hooks or part._forward_hooks for part in stripped.modules())
    step(sharded.train(), slice(4 * rank, 4 * rank + 4))  # which it still can
    torch.save({"plain": plain, **found}, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


def unwrapped():
    return model().unwrap()


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    context = mp.spawn(work, (str(folder),), RANKS, join=False)
    deadline = time.monotonic() + SECONDS
    try:
        while not context.join(timeout=1):
            assert time.monotonic() < deadline, "a rank waits for ever"
    finally:
        for process in context.processes:
            process.kill()
    return folder, [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(RANKS)]


def test_a_sharded_model_strips_to_a_plain_one_with_the_same_answers(found):
    for rank in found[1]:
        assert rank["plain"]
        torch.testing.assert_close(rank["stripped"], rank["sharded"])
        torch.testing.assert_close(rank["stripped after"], rank["sharded"])


def test_a_sharded_model_is_saved_whole_and_loads_into_a_plain_one(found):
    folder, ranks = found
    for rank in ranks:
        # Batch-norm statistics are those of a rank, as under DDP; the first one writes.
        torch.testing.assert_close(rank["loaded"], ranks[0]["sharded"])
    with torch.no_grad():
        torch.testing.assert_close(load_pretrained(folder / "saved", unwrapped())(X), ranks[0]["sharded"])
