"""What stands in a classifier's place: a head that answers requests, a stripped head, a head behind its model."""

from typing import Any

from torch import Tensor, nn

from dsnet_plugin.errors import WrapError
from dsnet_plugin.head import DisentangleHead


class HeadSlot(nn.Module):
    """What stands in the classifier's place: gives logits; on request keeps the features, or the whole objective.

    Args:
        head: the head.
    """

    def __init__(self, head: DisentangleHead) -> None:
        super().__init__()
        self.head = head
        self.request: dict[str, Any] | None = None  # arguments of head besides h; {} asks for the features alone
        self.answer: Any = None

    def forward(self, h: Tensor) -> Tensor:
        """Features (N, D), or feature maps (N, D, ...) whose mean is taken, to logits (N, num_classes)."""
        h = _as_rows(h, self.head.in_features)
        if self.request is None:
            logits: Tensor = self.head(h)
            return logits
        if self.answer is not None:
            raise WrapError("the classifier is called more than once in a forward pass, so that no one loss is its own")
        if not self.request:
            self.answer = h
            return h.new_zeros(h.shape[0], self.head.num_classes)
        self.answer = self.head(h, **self.request)
        answered: Tensor = self.answer.logits
        return answered


def _as_rows(h: Tensor, in_features: int) -> Tensor:
    """Feature maps (N, D, ...) in front of a convolutional classifier become their mean, (N, D)."""
    return h.flatten(2).mean(2) if h.dim() > 2 and h.shape[1] == in_features else h


class StrippedHead(nn.Module):
    """P_er and C in the classifier's place: what inference needs of a head."""

    def __init__(self, head: DisentangleHead) -> None:
        super().__init__()
        self.in_features = head.in_features
        self.p_er, self.classifier = head.p_er, head.classifier

    def forward(self, h: Tensor) -> Tensor:
        """Features (N, D) to logits (N, num_classes); raises :class:`WrapError` in training mode."""
        if self.training:
            raise WrapError("this model was stripped for inference: call eval(); to train on, keep the wrapped model")
        logits: Tensor = self.classifier(self.p_er(_as_rows(h, self.in_features)))
        return logits


class HeadBehind(nn.Module):
    """A model whose classifiers let features through, and one head behind it (see :class:`Location`)."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's inputs to logits."""
        return self.head(self.backbone(*args, **kwargs))
