"""A whole training of a wrapped model on two processes, with DistributedDataParallel."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from tests.dsnet_plugin import ddp_worker

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="torch was built without torch.distributed")


def run(folder, case, timeout=120):
    """What each rank wrote. A rank that waits for ever is ended, and fails the test."""
    command = [sys.executable, "-m", ddp_worker.__name__]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(folder), case],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(ddp_worker.RANKS)
    ]
    try:
        for rank, process in enumerate(ranks):
            said, _ = process.communicate(timeout=timeout)
            assert process.returncode == 0, f"rank {rank}:\n{said}"
    finally:
        for process in ranks:
            process.kill()
            process.wait()
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(ddp_worker.RANKS)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return run(tmp_path_factory.mktemp("whole"), "whole")


def test_both_ranks_end_with_the_same_weights(trained):
    first, second = trained
    assert first["weights"]
    torch.testing.assert_close(first["weights"], second["weights"], rtol=0, atol=0)


def test_the_loss_falls_on_both_ranks(trained):
    for rank in trained:
        assert sum(rank["losses"][-3:]) < 0.9 * sum(rank["losses"][:3])


def test_every_parameter_is_used_on_both_ranks(trained):
    assert [rank["without_gradient"] for rank in trained] == [[], []]


def test_a_rank_without_any_neutral_reference_does_not_hang_and_stays_equal(tmp_path):
    first, second = run(tmp_path, "masked")
    torch.testing.assert_close(first["weights"], second["weights"], rtol=0, atol=0)
    assert second["without_gradient"] == []


def test_reentrant_checkpoints_give_the_same_weights(trained, tmp_path):
    """They need DDP's static graph, since the encoder is passed twice in a step."""
    for rank, expected in zip(run(tmp_path, "reentrant"), trained, strict=True):
        torch.testing.assert_close(rank["weights"], expected["weights"], rtol=1e-4, atol=1e-5)
