"""Batch-norm statistics that fit the weights as they are: to be computed before a model is judged or saved.

Running averages are those of the weights of many steps ago, and of features under dropout. On a small corpus both put a
model in evaluation far from what it was in training: 25 points of UAR were seen.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from dsnet_plugin.errors import WrapError
from dsnet_plugin.modes import eval_mode


def recompute_batch_norm(model: nn.Module, batches: Iterable[Any]) -> None:
    """Replaces a model's running statistics by those of the given inputs under its present weights, without dropout.

    The mean and variance of each normalisation layer are computed for each batch and averaged over the batches, weighted by
    their rows ("precise batch norm", Wu and Johnson 2021, section 3). In a training loop this comes after an epoch and before
    ``model.eval()``; inputs are of training utterances alone, shuffled, in batches as large as those of the training.
    Some two hundred utterances do. A layer in eval mode (frozen) and one that the inputs do not reach keep theirs; a
    model without such layers runs nothing.

    Args:
        model: in training mode; its modes are afterwards what they were.
        batches: inputs of ``model``, each a tensor, a tuple of positional arguments, or a dict of keyword arguments.

    Raises:
        WrapError: the model is in eval mode, where all of its layers count as frozen, or there is no batch.

    Example:
        >>> model = nn.Sequential(nn.Linear(20, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 4))
        >>> x = torch.randn(96, 20)
        >>> recompute_batch_norm(model, x.split(32))
        >>> torch.allclose(model[1].running_mean, model[0](x).mean(0), atol=1e-6)
        True
    """
    norms = [m for m in model.modules() if isinstance(m, _NormBase) and m.running_mean is not None]
    if not norms:
        return
    if not model.training:
        raise WrapError(
            "recompute_batch_norm in eval mode, where every layer is taken for frozen: call model.train() first"
        )
    norms = [norm for norm in norms if norm.training]
    momenta = [norm.momentum for norm in norms]
    statistics = [{name: buffer.clone() for name, buffer in norm.named_buffers(recurse=False)} for norm in norms]
    total, finished = 0, False
    with eval_mode(model), torch.no_grad():
        try:
            for norm in norms:
                norm.reset_running_stats()
                norm.training = True
            for batch in batches:
                args, kwargs = _arguments(batch)
                rows = _rows(args, kwargs)
                total += rows
                for norm in norms:
                    norm.momentum = rows / total  # so that the running average is the mean over all rows so far
                model(*args, **kwargs)
            if not total:
                raise WrapError("recompute_batch_norm was given no batch; expected inputs of training utterances")
            finished = True
        finally:
            for norm, momentum, before in zip(norms, momenta, statistics, strict=True):
                reached = finished and bool(norm.num_batches_tracked)
                for name, buffer in before.items():
                    if not reached or name == "num_batches_tracked":  # which counts the steps of the training
                        getattr(norm, name).copy_(buffer)
                norm.momentum = momentum


def _arguments(batch: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    if isinstance(batch, Mapping):
        return (), batch
    return (tuple(batch), {}) if isinstance(batch, tuple | list) else ((batch,), {})


def _rows(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """The number of utterances: the length of the first tensor."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, Tensor) and value.dim():
            return len(value)
        if isinstance(value, Mapping):
            return _rows((), value)
    raise WrapError("recompute_batch_norm: a batch without a tensor; expected inputs of training utterances")
