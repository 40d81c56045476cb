"""The interface that every method offers to the training loop."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Tensor, nn

from dsnet_plugin import NeutralReferences

Batch = dict[str, Any]
"""The keyword arguments of a method's ``forward`` for N utterances: ``inputs``, ``labels`` and what :class:`Method` lists."""

Config = dict[str, object]
"""A method's settings, as JSON can hold them."""

Losses = dict[str, Tensor]
"""Losses by their names, each a scalar."""


class MethodOutput(NamedTuple):
    """``loss``: what is minimised, a scalar; ``logits`` (N, classes); ``losses``: its named, unweighted parts."""

    loss: Tensor
    logits: Tensor
    losses: Losses


class Step(Protocol):
    """One batch's turn in the training loop, which owns the optimiser.

    ``progress`` is the share of the training that is done, from 0 to below 1; ``phase`` one of the method's ``phases``.
    """

    progress: float
    phase: str

    def update(self, loss: Tensor, *groups: Iterable[nn.Parameter]) -> None:
        """One Adam update on ``loss``: of the parameters in the groups, or without a group of all parameters.

        The gradient of each group is clipped at the method's ``clip_norm``. No other parameter moves, whatever the loss
        depends on.
        """

    def watch(self, losses: Losses) -> None:
        """Records now and then, before :meth:`update`, the norm of each loss' gradient on the encoder."""


class Speakers(NamedTuple):
    """What a method that pairs utterances with neutral ones may know of one side of a fold, one entry an utterance.

    ``neutral`` marks the recordings known as neutral speech; ``features()`` gives the mean input of each, shape (N, D), for
    strategies that measure distances; ``missing`` and ``seed`` are those of :class:`dsnet_plugin.NeutralReferences`.
    """

    names: Sequence[str]
    neutral: Sequence[bool]
    features: Callable[[], Tensor]
    missing: Any
    seed: int


class Method(nn.Module):
    """An encoder with what a method puts on it. ``forward(inputs)`` gives logits, with ``labels=`` also the losses.

    Class attributes say what a method needs, and the loop puts it into each batch, a dict of ``forward``'s arguments:

    - ``needs_neutral``: ``neutral``, ``neutral_index`` and ``neutral_mask`` as :meth:`pairing` chooses them, in training and
      validation; with ``neutral_in_inference`` in testing as well, and ``neutral_optional`` says that it infers without, too;
    - ``needs_speakers``: ``speakers``, the index of each training utterance's speaker (N,), in training alone; the
      constructor gets ``num_speakers``;
    - ``target_rows``: ``target``, so many unlabelled utterances of the test speaker, in training alone;
    - ``balanced``: batches with as many utterances of one training speaker as of another.

    ``adapts`` is Table 2's column SA: utterances of the test speaker serve in training or inference. ``phases`` are the
    passes over the training set in one epoch, ``clip_norm`` the norm at which gradients are clipped, or None.
    """

    name: ClassVar[str]
    needs_neutral: ClassVar[bool] = False
    neutral_in_inference: bool = False
    neutral_optional: bool = False
    needs_speakers: ClassVar[bool] = False
    target_rows: ClassVar[int] = 0
    balanced: ClassVar[bool] = False
    adapts: bool = False
    clip_norm: ClassVar[float | None] = None
    phases: Sequence[str] = ("all",)

    def __init__(self, encoder: Any, num_classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.num_classes = num_classes

    def training_step(self, batch: Batch, step: Step) -> Losses:
        """Learns from one batch; returns the losses to log, ``"total"`` among them."""
        output: MethodOutput = self(**batch)
        step.watch(output.losses)
        step.update(output.loss)
        return {"total": output.loss, **output.losses}

    def pairing(self, speakers: Speakers) -> NeutralReferences | None:
        """Which neutral utterances stand beside which utterance; None for a method that needs none.

        Raises:
            NeutralReferenceError: speakers without neutral speech, and ``missing`` does not allow them.
        """
        return None

    def spaces(self, inputs: Any, **neutral: Tensor) -> dict[str, Tensor]:
        """The feature spaces that may be looked into, by name, each (N, D); ``h`` is the encoder's."""
        return {"h": self.encoder(inputs)}

    def config(self) -> Config:
        """What the constructor takes besides encoder and classes, as JSON can hold it; kept with results and models."""
        return {}

    def inference_modules(self) -> list[nn.Module]:
        """The parts that run in inference, for counting parameters."""
        return list(self.children())
