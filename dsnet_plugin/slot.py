"""The modules that stand in a classifier's place: a head, a stripped head, a head behind its model; and their labelled calls.

**How a labelled call travels.** A model hands its classifier features and nothing else, and what the objective needs (labels,
neutral features) has to get past the model. So it goes around it: :func:`ask` holds a :class:`Call` for as long as the model
runs, the slot hands its features to that call, and the caller then reads ``call.answer``. A call does one thing:
:class:`Features` keeps the features, :class:`Objective` computes the losses, :class:`Referred` gives logits that know a reference,
and without a call the slot gives logits. What
travels belongs to the thread that runs the model, so that threads, and the replicas that DataParallel runs in threads, do not
see one another's; nothing is kept on a module, so that copying, pickling and compiling a model in mid-training find none of it.
"""

import threading
from typing import Any

from torch import Tensor, nn

from dsnet_plugin.errors import ShapeError, WrapError
from dsnet_plugin.head import DisentangleHead
from dsnet_plugin.wrapping.blocks import Block


class Call:
    """A request to the slot; ``answer`` is None until the model has called its classifier."""

    answer: Any = None

    def __call__(self, head: DisentangleHead, h: Tensor) -> Tensor:
        """The logits with which the model goes on, from features (N, D)."""
        raise NotImplementedError

    def _keep(self, answer: Any) -> None:
        if self.answer is not None:
            raise WrapError("the classifier is called more than once in a forward pass, so that no one loss is its own")
        self.answer = answer


class Features(Call):
    """Asks for the features: ``answer`` is h (N, D), and the model goes on with logits of zeros."""

    def __call__(self, head: DisentangleHead, h: Tensor) -> Tensor:
        """Zeros of shape (N, num_classes)."""
        self._keep(h)
        return h.new_zeros(h.shape[0], head.num_classes)


class Objective(Call):
    """Asks for the whole objective: ``answer`` is the head's output, ``h`` the features it was computed from.

    The model goes on with the logits.

    Args:
        request: the arguments of :meth:`DisentangleHead.forward` besides h.
    """

    def __init__(self, **request: Any) -> None:
        self.request = request

    def __call__(self, head: DisentangleHead, h: Tensor) -> Tensor:
        """The head's logits, of shape (N, num_classes)."""
        self._keep(head(h, **self.request))
        self.h = h
        logits: Tensor = self.answer.logits
        return logits


class Referred(Call):
    """Asks for logits that know a reference; ``answer`` is the logits, with which the model goes on.

    Args:
        reference: ``neutral``, ``neutral_index`` and ``neutral_mask`` of :meth:`DisentangleHead.forward`.
    """

    def __init__(self, **reference: Any) -> None:
        self.reference = reference

    def __call__(self, head: DisentangleHead, h: Tensor) -> Tensor:
        """The head's logits, of shape (N, num_classes)."""
        self._keep(head(h, **self.reference))
        logits: Tensor = self.answer
        return logits


class _Travelling(threading.local):
    call: Call | None = None


_travelling = _Travelling()


def ask(model: nn.Module, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Runs a model while a call waits for its slot, on this thread; returns what the model returns."""
    _travelling.call = call
    try:
        return model(*args, **kwargs)
    finally:
        _travelling.call = None


class _InPlace(nn.Module):
    """The module in a block's place: reshapes the block's input to rows (N, D), and logits to the form of its output."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.in_features = block.in_features
        self.out_features = block.num_classes
        self.channels_first = block.channels_first
        self.keeps_axes = block.keeps_axes
        self.pools = block.pools
        self.tail_axes = block.tail_axes
        self.tail = nn.Sequential(*block.tail)

    def rows(self, h: Tensor) -> Tensor:
        """Features (N, D) from the block's input; feature maps (N, D, ...) are averaged where the block averaged, too.

        Raises:
            ShapeError: features of each frame, or of another width.
        """
        if h.dim() == 2 and h.shape[1] == self.in_features:
            return h
        if h.dim() > 2 and h.shape[1:].numel() == self.in_features:
            return h.flatten(1)
        if self.pools and h.dim() > 2 and h.shape[1] == self.in_features:
            return h.flatten(2).mean(2)
        width = h.shape[1] if self.channels_first else h.shape[-1]
        each, remedy = (
            (" of each frame", ": pool over frames in front of it") if width == self.in_features else ("", "")
        )
        raise ShapeError(
            f"the classifier is given features{each}, of shape {tuple(h.shape)}; the head in its place expects (N, "
            f"{self.in_features}), one row an utterance{remedy}"
        )

    def scores(self, logits: Tensor, h: Tensor) -> Tensor:
        """Logits in the form of the block's output: with its further axes, all of size 1, and passed through the layers
        that followed its last one."""
        if self.keeps_axes and h.dim() > 2:
            ones = [1] * (h.dim() - 2)
            logits = logits.reshape(len(logits), *([-1, *ones] if self.channels_first else [*ones, -1]))
        elif self.channels_first and len(self.tail):
            logits = logits.reshape(len(logits), -1, *[1] * (self.tail_axes - 2))
        # A copy where layers follow: one that works in place would change the logits of the objective, too.
        scores: Tensor = self.tail(logits.clone()) if len(self.tail) else logits
        return scores

    def __getattr__(self, name: str) -> Any:
        """Raises an error that says why a classifier's attribute, such as ``weight``, cannot be read here."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            raise AttributeError(
                f"the model reads {name!r} of its classifier, in whose place a DisentangleHead stands now, which has none: "
                "a model that computes with its classifier's parts cannot be wrapped at this place"
            ) from None


class HeadSlot(_InPlace):
    """What stands in the classifier's place while the model is trained.

    Args:
        head: the head.
        block: what the classifier was.
    """

    def __init__(self, head: DisentangleHead, block: Block) -> None:
        super().__init__(block)
        self.head = head
        self.out_features = head.num_classes

    def forward(self, h: Tensor) -> Tensor:
        """Features to scores, in the form in which the classifier gave them; see the module for what else happens."""
        rows, call = self.rows(h), _travelling.call
        return self.scores(self.head(rows) if call is None else call(self.head, rows), h)

    def _get_name(self) -> str:
        return f"{DisentangleHead.__name__} in the classifier's place"


class StrippedHead(_InPlace):
    """P_er and C in the classifier's place: what inference needs of a head, and P_ei where it takes a reference.

    Args:
        slot: what it was before.
        digest: of the model, where the head takes a reference; :func:`~dsnet_plugin.enrolment.refer_to` sets it.
    """

    reference: Tensor | None = None

    def __init__(self, slot: HeadSlot, digest: str | None = None) -> None:
        nn.Module.__init__(self)
        for name in ("in_features", "out_features", "channels_first", "keeps_axes", "pools", "tail_axes"):
            setattr(self, name, getattr(slot, name))
        self.tail = slot.tail
        self.narrow, self.p_er, self.classifier = slot.head.narrow, slot.head.p_er, slot.head.classifier
        self.digest = digest
        self.p_ei = None if digest is None else slot.head.p_ei

    def forward(self, h: Tensor) -> Tensor:
        """Features (N, D) to logits (N, num_classes); raises :class:`WrapError` in training mode."""
        if self.training:
            raise WrapError("this model was stripped for inference: call eval(); to train on, keep the wrapped model")
        rows = self.rows(h)
        reference = None if self.reference is None else self.reference.to(rows.device, rows.dtype)
        if self.narrow is not None:
            rows, reference = self.narrow(rows), None if reference is None else self.narrow(reference)
        if self.p_ei is not None:
            rows = rows - (self.p_ei(rows) if reference is None else reference)
        return self.scores(self.classifier(self.p_er(rows)), h)


class HeadBehind(nn.Module):
    """A model whose classifiers let features through, and one head behind it (see :class:`Location`)."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The model's inputs to logits."""
        return self.head(self.backbone(*args, **kwargs))
