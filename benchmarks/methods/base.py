"""What every method offers to the training loop."""

from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn


class MethodOutput(NamedTuple):
    """``loss``: what is minimised, a scalar; ``logits`` (N, classes); ``losses``: its named, unweighted parts."""

    loss: Tensor
    logits: Tensor
    losses: dict[str, Tensor]


class Method(nn.Module):
    """An encoder with what a method puts on it. ``forward(inputs)`` gives logits, with ``labels=`` also the losses.

    Class attributes: ``name``, the name on the command line; ``needs_neutral``, whether training takes ``neutral``,
    ``neutral_index`` and ``neutral_mask``; ``clip_norm``, the norm at which gradients are clipped, or None.
    """

    name: ClassVar[str]
    needs_neutral: ClassVar[bool] = False
    clip_norm: ClassVar[float | None] = None

    def __init__(self, encoder: Any, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.num_classes = num_classes

    def config(self) -> dict[str, Any]:
        """What the constructor takes besides encoder and classes, as JSON can hold it; kept with results and models."""
        return {}

    def inference_modules(self) -> list[nn.Module]:
        """The parts that run in inference, for counting parameters."""
        return list(self.children())
