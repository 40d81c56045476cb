"""Running a model to learn about it, and leaving it exactly as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from dsnet_plugin.errors import HeadNotFoundError
from dsnet_plugin.modes import eval_mode


def check_weights(model: nn.Module) -> None:
    """Refuses lazy layers that have not seen an input: running them would give them their weights.

    Raises:
        HeadNotFoundError: says what to do.
    """
    if any(is_lazy(parameter) for parameter in model.parameters()):
        raise HeadNotFoundError(
            f"{type(model).__name__} has lazy layers without weights: run it once on an input, then wrap it"
        )


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients inside; afterwards the modes, the buffers and the random state are as they were.

    Raises:
        HeadNotFoundError: see :func:`check_weights`.
    """
    check_weights(model)
    buffers = [
        (module, name, buffer, buffer._version, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    devices = {parameter.device.index for parameter in model.parameters() if parameter.device.type == "cuda"}
    with torch.random.fork_rng(devices), torch.no_grad():
        try:
            with eval_mode(model):
                yield
        finally:
            for module, name, buffer, version, value in buffers:
                module._buffers[name] = buffer
                if buffer._version != version:
                    buffer.copy_(value)
