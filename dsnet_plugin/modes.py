"""Evaluation mode for a while, after which every part of a model is in the mode that it was in."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def eval_mode(*modules: nn.Module) -> Iterator[None]:
    """Puts modules in evaluation mode; afterwards each of their parts has its own mode again, whatever happens inside.

    Example:
        >>> model = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
        >>> with eval_mode(model):
        ...     model.training
        False
        >>> [part.training for part in model]
        [True, False]
    """
    # TorchScript's frozen modules are in no mode.
    modes = [(part, part.training) for module in modules for part in module.modules() if hasattr(part, "training")]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.train(mode)  # from the top down; some forget what they kept for eval mode when told to train
