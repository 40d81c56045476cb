"""Two lines around any model: ``wrap`` finds its classifier and puts a disentanglement head in the place.

The head takes the classifier's place in the module tree and is no hook, so that ``state_dict``, ``.to()``, DDP,
``torch.compile``, ``deepcopy``, ``torch.export`` and ONNX see ordinary modules.
"""

import logging
from typing import Any

import torch
from torch import nn

from dsnet_plugin.config import DisentangleConfig
from dsnet_plugin.errors import ConfigError, WrapError
from dsnet_plugin.head import DisentangleHead
from dsnet_plugin.location import BY_EXAMPLE, BY_TREE, Location, confirm, locate
from dsnet_plugin.slot import HeadSlot
from dsnet_plugin.task import Criterion, criterion_of
from dsnet_plugin.wrapped_model import WrappedModel, class_for
from dsnet_plugin.wrapping.dry_run import check_weights
from dsnet_plugin.wrapping.inputs import inputs_of
from dsnet_plugin.wrapping.placing import place

log = logging.getLogger("dsnet_plugin")


def wrap(
    model: nn.Module,
    num_classes: int | None = None,
    head: str | None = None,
    example: Any = None,
    config: DisentangleConfig | None = None,
    criterion: Criterion | None = None,
) -> WrappedModel:
    """Turns the classifier of a model into a :class:`DisentangleHead`, in place.

    Args:
        model: a timm model, one of transformers' classification classes, or any module.
        num_classes: the number of emotions; None keeps the number that the classifier has.
        head: the classifier's dotted name; needed only where :func:`wrap` cannot find the classifier.
        example: one input (a tensor, a tuple of positional arguments, or a dict of keyword arguments) for a dry run that
            finds the classifier. Without one, where nothing else identifies the classifier, ``num_classes`` picks it
            from the module tree; a log line names it, and the first forward pass confirms it or raises
            :class:`HeadNotFoundError`.
        config: loss variants, weights and widths; None is ``DisentangleConfig()``.
        criterion: the task's loss, see :class:`DisentangleHead`; None is cross-entropy, or what a transformers model's
            ``config.problem_type`` says.

    Returns:
        The wrapped model. Its new modules have the device, dtype and mode of the classifier.

    Raises:
        HeadNotFoundError: the classifier cannot be identified; the message names the candidates, and the model is
            unchanged.
        WrapError: the model is wrapped already, compiled by TorchScript, has no forward, or keeps a part of the classifier in a
            second place.
        ConfigError: features so wide that the head would not fit, see ``narrow_to`` in :class:`DisentangleConfig`.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 4))
        >>> model = wrap(model, example=torch.zeros(2, 20))
        >>> x, y, x_neutral = torch.randn(8, 20), torch.randint(4, (8,)), torch.randn(8, 20)
        >>> loss = model(x, labels=y, neutral=x_neutral).loss
        >>> model.eval()(x).shape
        torch.Size([8, 4])
    """
    if isinstance(model, WrappedModel) or any(isinstance(module, HeadSlot) for module in model.modules()):
        raise WrapError("this model is wrapped already; unwrap() gives the original back")
    if num_classes is not None and (not isinstance(num_classes, int) or num_classes < 1):
        raise ConfigError(f"num_classes={num_classes!r}: expected a whole number of classes, at least 1, or None")
    if isinstance(model, torch.jit.ScriptModule):
        raise WrapError(
            f"{type(model).__name__}: a model that TorchScript compiled keeps the layers it has; wrap it before it is compiled"
        )
    check_weights(model)
    inputs = inputs_of(model)
    location = locate(model, head, example, num_classes)
    width, classes = location.in_features, location.num_classes if num_classes is None else num_classes
    wrapped = attach(model, DisentangleHead(width, classes, config, criterion or criterion_of(model)), location)
    if location.told_by == BY_TREE:
        log.warning("%s", str(wrapped.status()).partition("\n")[0])
    if criterion is not None and (tail := ", ".join(type(layer).__name__ for layer in wrapped._slot[0].tail)):
        log.warning("the criterion is given the head's logits, in front of the %s that the model ends in", tail)
    # With an example, since the model may call its classifier from where no head was put; a name is the user's to give.
    if example is not None and (head is not None or location.told_by == BY_EXAMPLE):
        try:
            confirm(wrapped.model, location, *wrapped._standing(), *inputs.call(example))
        except BaseException:
            wrapped.unwrap()
            raise
    return wrapped


def attach(model: nn.Module, head: DisentangleHead, location: Location | str) -> WrappedModel:
    """Puts a given head in a classifier's place; :func:`wrap` also finds the place and makes the head.

    Args:
        model: gets the head, in place.
        head: as wide as the features at that place.
        location: what :func:`locate` found, or a dotted name.

    Raises:
        HeadNotFoundError: no such name.
        ShapeError: the head has another width than the features.

    Example:
        >>> attach(nn.Sequential(nn.Linear(16, 4)), DisentangleHead(16, num_classes=4), "0").status().head
        '0'
    """
    location, kind = locate(model, head=location) if isinstance(location, str) else location, class_for(model)
    model, slot, replaced = place(model, head, location)
    return kind(model, slot, location, replaced)
