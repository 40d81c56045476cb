"""The task's loss: cross-entropy over class indices, or a criterion of the user's; and labels in the form that it takes."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dsnet_plugin.errors import CheckpointError, ConfigError, ShapeError
from dsnet_plugin.losses import float32

Criterion = Callable[[Tensor, Tensor], Tensor]


class TaskLoss(nn.Module):
    """The loss of the task, from logits and labels; a part of the head, so that what a criterion holds moves along.

    The criterion is computed on logits in float32 (float64 stays), and its own tensors, such as class weights, keep to
    that whatever the model is cast to.

    Args:
        num_classes: C, the number of classes or of regression outputs.
        criterion: a function or a module of logits (N, C) and labels that gives one number; None is cross-entropy.

    Raises:
        ConfigError: no function, one of probabilities, or one output and no criterion.
    """

    def __init__(self, num_classes: int, criterion: Criterion | None = None) -> None:
        super().__init__()
        if isinstance(criterion, type) or not (criterion is None or callable(criterion)):
            raise ConfigError(
                f"criterion={criterion!r}: expected a function of logits and labels, such as nn.CrossEntropyLoss() with "
                "its parentheses"
            )
        if isinstance(criterion, nn.NLLLoss | nn.BCELoss):
            fitting = "CrossEntropyLoss" if isinstance(criterion, nn.NLLLoss) else "BCEWithLogitsLoss"
            raise ConfigError(
                f"criterion={criterion!r} takes probabilities or their logarithms, and the head gives logits, whatever the "
                f"model makes of them: expected nn.{fitting}, which is the same of logits"
            )
        if criterion is None and num_classes < 2:
            raise ConfigError(
                f"num_classes={num_classes} has no default criterion: expected 2 classes or more, or for regression "
                "criterion=, such as concordance_loss or nn.MSELoss()"
            )
        self.num_classes = num_classes
        self.criterion = criterion

    @property
    def name(self) -> str:
        """The criterion's name, for people and records."""
        return (
            getattr(self.criterion, "__name__", type(self.criterion).__name__)
            if self.criterion is not None
            else "cross_entropy"
        )

    def forward(self, logits: Tensor, labels: Any) -> Tensor:
        """The loss.

        Args:
            logits: shape (N, C).
            labels: a tensor or a list. Without a criterion, one class index a row, shape (N,) or (N, 1), of any integer
                type. With one, labels of the logits' shape reach it as floats (soft labels, several labels, regression;
                for one output (N,) is the same as (N, 1)), integers as int64, those of shape (N, 1) as (N,); all else
                as it is.

        Returns:
            A scalar.

        Raises:
            ShapeError: labels that do not fit, or a criterion that does not give one number.
        """
        labels, rows, logits = self._tensor(labels, logits), len(logits), float32(logits)
        whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
        if self.criterion is None:
            if not whole or not rows or labels.shape not in ((rows,), (rows, 1)):
                raise ShapeError(
                    f"labels are {labels.dtype} of shape {tuple(labels.shape)}; expected one class index a row of h, "
                    f"({rows},), at least one; for soft or several labels and for regression, give the head or wrap() a "
                    "criterion="
                )
            labels = labels.reshape(rows).long()
            check_range("labels", labels, self.num_classes, "num_classes")
            return F.cross_entropy(logits, labels)
        if not labels.dim() or len(labels) != rows:
            raise ShapeError(
                f"labels have shape {tuple(labels.shape)}; expected a row for each of the {rows} rows of h"
            )
        if labels.shape == logits.shape or (self.num_classes == 1 and labels.dim() == 1):
            labels = labels.reshape(logits.shape).to(logits.dtype)
        elif labels.is_floating_point() and labels.dim() == 1:
            raise ShapeError(
                f"labels are floats of shape ({rows},) for {self.num_classes} outputs, over which a criterion would spread "
                f"them in silence; expected ({rows}, {self.num_classes})"
            )
        elif whole:
            labels = (labels.squeeze(1) if labels.shape == (rows, 1) else labels).long()
        loss = self.criterion(logits, labels)
        if not isinstance(loss, Tensor) or loss.dim():
            shape = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
            raise ShapeError(
                f"the criterion {self.name} gave {shape}; expected a scalar tensor, as of reduction='mean'"
            )
        return loss

    @staticmethod
    def _tensor(labels: Any, logits: Tensor) -> Tensor:
        if isinstance(labels, Tensor):
            return labels
        try:
            return torch.as_tensor(labels, device=logits.device)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ShapeError(
                f"labels cannot be made a tensor ({error}); expected numbers, one row for each of h"
            ) from error

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "TaskLoss":
        # The criterion's weights stay in float32 like the logits: torch refuses a bfloat16 weight beside float32 logits.
        def moved(tensor: Tensor) -> Tensor:
            there = fn(tensor)
            if not there.is_floating_point() or there.dtype in (torch.float32, torch.float64) or tensor.is_meta:
                return there
            return tensor.to(there.device, torch.float32)

        super()._apply(moved, recurse)  # type: ignore[no-untyped-call]
        return self


def criterion_of(model: nn.Module) -> Criterion | None:
    """The criterion that a transformers model's ``config.problem_type`` stands for; None for one class an utterance."""
    kind = str(getattr(getattr(model, "config", None), "problem_type", None))
    return {"regression": nn.MSELoss(), "multi_label_classification": nn.BCEWithLogitsLoss()}.get(kind)


class LeftBehind:
    """Stands for a criterion that was not saved with its head; it is needed again where labels are given.

    Args:
        name: what it was called.
    """

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Raises :class:`CheckpointError`."""
        raise CheckpointError(
            f"this head was trained with the criterion {self.__name__}, which is not saved: give it again, "
            "load_pretrained(..., criterion=)"
        )


def check_range(name: str, values: Tensor, end: int, source: str) -> None:
    """Refuses indices outside of 0..end - 1.

    Raises:
        ShapeError: names the values' range, the one expected, and what to check.
    """
    # Reading values would stall a GPU and break a compiled graph; there, torch's own assertions stand.
    if values.numel() and values.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= end:
            raise ShapeError(f"{name} lie in {low}..{high}; expected 0..{end - 1}: check {source}")
