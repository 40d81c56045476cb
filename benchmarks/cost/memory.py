"""The memory that tensors take."""

import os
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.autograd.profiler import profile


def size(tensors: Iterable[Tensor]) -> int:
    """The bytes that tensors take, none of which may share memory with another."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def growth(run: Callable[[], object], device: torch.device) -> int:
    """The bytes by which the memory of torch's tensors grows at the peak of a call.

    On CUDA its allocator counts them. On the CPU they come from the profiler's record of every allocation and release: the
    process' resident size would also hold what the C library keeps for later and what ran before. Neither has the
    workspaces that oneDNN takes for itself.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # else a line on stderr for CUDA's torch on a machine without a GPU
    with profile(profile_memory=True) as record:
        run()
    changes = [event for event in record.kineto_results.events() if event.name() == "[memory]"]
    grown = peak = 0
    for change in sorted(changes, key=lambda event: event.start_ns()):
        grown += change.nbytes()
        peak = max(peak, grown)
    return peak
