"""A model whose classifier is a disentanglement head; its forward takes labels and neutral speech."""

import copy
import threading
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch._compile import _disable_dynamo

from dsnet_plugin.classes import declare_classes, restore_classes
from dsnet_plugin.copying import by_value, copy_of
from dsnet_plugin.digests import digests_without
from dsnet_plugin.enrolment import Speaker, enrol, known_digest, speaker_rows
from dsnet_plugin.errors import WrapError
from dsnet_plugin.head import DisentangleHead
from dsnet_plugin.location import BY_TREE, Location, confirm
from dsnet_plugin.reference_pass import keep_statistics, neutral_pass
from dsnet_plugin.slot import Call, Features, HeadSlot, Objective, Referred, StrippedHead, ask
from dsnet_plugin.stripped import record_head
from dsnet_plugin.wrapping.inputs import inputs_of, shown_signature
from dsnet_plugin.wrapping.placing import bare
from dsnet_plugin.wrapping.replace import put
from dsnet_plugin.wrapping.status import Status

_confirming = threading.Lock()


class WrappedModel(nn.Module):
    """A model whose classifier is a :class:`DisentangleHead`; :func:`~dsnet_plugin.two_lines.wrap` makes it.

    Without ``labels`` it returns what the model returned. Attributes that it lacks are the model's.
    """

    accepts_loss_kwargs = False  # to transformers' Trainer: the loss is a mean, and is scaled over accumulated steps

    def __init__(self, model: nn.Module, slot: HeadSlot, location: Location, replaced: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.model = model
        self.location = location
        # In tuples, so that neither the slot is registered twice nor the old classifiers at all.
        self._slot = (slot,)
        self._replaced = (dict(replaced),)
        self._said = declare_classes(bare(model), location.names, location.num_classes, slot.head.num_classes)
        self._inputs = inputs_of(bare(model))
        self._unconfirmed = location.told_by == BY_TREE
        self.training = model.training
        self.base_digests = digests_without(self, slot)  # tells at saving which parameters the base does not have

    @property
    def head(self) -> DisentangleHead:
        """The head in the classifier's place."""
        return self._slot[0].head

    def __getattr__(self, name: str) -> Any:
        """The model's attribute where there is none of this name here."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            # The model is not there yet while a copy is made; and its way of being copied and pickled is not this class'.
            if name == "model" or name.startswith("__"):
                raise
            return getattr(self.model, name)

    def forward(
        self,
        *args: Any,
        labels: Any = None,
        neutral: Any = None,
        neutral_index: Tensor | None = None,
        neutral_mask: Tensor | None = None,
        neutral_features: Tensor | None = None,
        enrolled: Any = None,
        return_objective: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The model's own output; with labels the whole objective (eq. 10), both passes in this one call.

        With a head that takes a reference (``DisentangleConfig(reference="difference")``) the model's output in eval mode knows
        the neutral speech that is given, of one row for all or of one a row.

        Args:
            args: the model's inputs.
            labels: class indices, shape (N,); or what the criterion takes.
            neutral: inputs of neutral utterances of the same speakers, a tensor, a tuple of positional arguments or a dict
                of keyword arguments: N rows, or K distinct ones with ``neutral_index``. ``neutral_<input>=`` for each of
                the model's inputs says the same, as a table's columns can.
            neutral_index: see :meth:`DisentangleHead.forward`.
            neutral_mask: see :meth:`DisentangleHead.forward`.
            neutral_features: features of the neutral utterances, in place of ``neutral``, shape (N or K, D).
            enrolled: in eval mode, and in place of ``neutral``, a :class:`~dsnet_plugin.enrolment.Speaker` whom ``enrol`` gave, or one a row.
            return_objective: gives a pair, the model's own output and the head's :class:`DisentangleOutput`, with labels or
                without. For a loop that computes the task's loss itself, ``criterion(output, y) + objective.loss``; and
                where a model has other outputs, or the single losses, z_er and z_ei are wanted.
            kwargs: the model's inputs.

        Returns:
            Without labels what the model returns. With labels a :class:`DisentangleOutput`, or where the model returns a
            dict-like output with a ``loss`` (transformers), that output with the loss first. With ``return_objective`` the
            pair ``(output, objective)``.

        Raises:
            ShapeError: see :meth:`DisentangleHead.forward`.
            NeutralReferenceError: see :meth:`DisentangleHead.forward`.
            CheckpointError: a speaker whom another model enrolled.
            WrapError: neutral inputs given twice, or without labels in training, or a model that does not call its
                classifier.
        """
        names = [name for name in kwargs if name.startswith("neutral_") and name not in self._inputs.names]
        columns = {name.removeprefix("neutral_"): kwargs.pop(name) for name in names}
        if unknown := [name for name in columns if not self._inputs.takes(name)]:
            raise WrapError(
                f"neutral_{unknown[0]}: {type(self.model).__name__} takes no {unknown[0]}; it takes "
                f"{', '.join(sorted(self._inputs.names))}"
            )
        args, labels = self._inputs.take_labels(args, labels)
        asked = labels is not None or return_objective
        ways = (neutral is not None) + (neutral_features is not None) + bool(columns) + (enrolled is not None)
        if ways > 1:
            raise WrapError(
                "neutral inputs are given twice: expected one of neutral, neutral_features, neutral_<input>, enrolled"
            )
        if self.training and ways and not asked:
            raise WrapError(
                "neutral inputs and no labels in training: the objective would be left out; pass labels= (a Trainer "
                "keeps them back for label smoothing or a compute_loss_func of its own: give wrap() a criterion= "
                "instead), or return_objective=True to compute the task's loss yourself"
            )
        if enrolled is not None:
            if getattr(self, "_is_replica", False):
                raise WrapError("DataParallel would deal out a speaker's numbers: give each row its neutral_features")
            neutral_features = speaker_rows(enrolled, self.head, known_digest(self))
        if not asked and (not ways or self.head.config.reference == "none"):
            self._confirm(args, kwargs)
            return self.model(*args, **kwargs)
        if neutral_index is not None and getattr(self, "_is_replica", False):
            raise WrapError(
                "DataParallel deals out the references apart from the neutral_index into them: give one reference a row of the "
                "batch, NeutralCollator(extractor, one_a_row=True), or use DistributedDataParallel (torchrun)"
            )
        args, kwargs = self._inputs.give_labels(args, kwargs, labels)
        self._confirm(args, kwargs)
        if columns or neutral is not None:
            inputs = ((), columns) if columns else self._inputs.call(neutral)
            inputs = self._inputs.give_neutral_labels(*inputs, labels)
            neutral_features = neutral_pass(self.model, lambda: self._ask(Features(), *inputs)[1])
        reference = {"neutral": neutral_features, "neutral_index": neutral_index, "neutral_mask": neutral_mask}
        if not asked:
            return self._ask(Referred(**reference), args, kwargs)[0]
        objective = Objective(labels=labels, return_objective=True, **reference)
        output, answer = self._ask(objective, args, kwargs)
        keep_statistics(self.model, objective.h)
        if return_objective:
            return output, answer
        if isinstance(output, Mapping) and hasattr(output, "loss"):
            return type(output)(**{**output, "loss": answer.loss})
        return answer

    def _ask(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """Runs the model with a call for its slot; returns the model's output and the call's answer."""
        output = ask(self.model, call, args, kwargs)
        if call.answer is None:
            raise WrapError(f"{type(self.model).__name__} did not call {self.location.name} in this forward pass")
        return output, call.answer

    def _confirm(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Looks, once, whether a place that the module tree told gives what the model returns."""
        if self._unconfirmed:
            _confirm(self, args, kwargs)

    def _standing(self) -> tuple[HeadSlot, nn.Module]:
        """What stands in the classifier's place, and what stood there."""
        return self._slot[0], self._replaced[0][self.location.name]

    def enrol(self, inputs: Any, choose: int | None = None, neutral_class: int | None = None) -> Speaker:
        """Enrols the speaker of some inputs, as ``neutral=`` takes them; see :func:`dsnet_plugin.enrolment.enrol`."""
        return enrol(self, lambda: self._ask(Features(), *self._inputs.call(inputs))[1], choose, neutral_class)

    def status(self) -> Status:
        """Where the head stands, its widths, parameters with and without the training-only parts, loss weights."""
        return Status.of(self.model, self.head, self.location)

    def strip(self) -> nn.Module:
        """A copy of the model for deployment, in eval mode: encoder, P_er and C. This one stays as it is.

        The copy returns what the model returned; in training mode it raises :class:`WrapError`.
        """
        return copy_of(self).strip_in_place()

    def strip_in_place(self) -> nn.Module:
        """The model itself, stripped; this one is of no use after. For :func:`~dsnet_plugin.stripped.load_stripped`."""
        slot, name = self._slot[0], self.location.names[0]
        stripped = StrippedHead(slot, None if self.head.config.reference == "none" else known_digest(self))
        record_head(self.model, name, self.head, stripped, self._replaced[0][name])
        put(self.model, slot, stripped)
        self.model.eval()  # which gives nothing back where the model's own train() gives nothing back
        return self.model

    def unwrap(self) -> nn.Module:
        """Gives the model back with its old classifier and all else as trained; the wrapper is useless afterwards."""
        model = bare(self.model)
        like = next(self.head.parameters())
        for name, module in self._replaced[0].items():
            put(model, model.get_submodule(name), module.to(like.device, like.dtype).train(self.training))
        restore_classes(self._said)
        return model

    def __deepcopy__(self, memo: dict[int, Any]) -> "WrappedModel":
        """A copy that shares nothing; what modules keep of a forward pass is copied by value."""
        memo |= {key: value for key, value in by_value(self).items() if key not in memo}
        memo[id(self)] = twin = type(self).__new__(type(self))
        twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Gives pickle the model, from which the class is made again, and the state."""
        return _blank, (self.model,), self.__dict__

    def save_pretrained(self, folder: Any) -> None:
        """See :func:`dsnet_plugin.save_pretrained`."""
        from dsnet_plugin.serialization import save_pretrained  # which knows this class

        save_pretrained(self, folder)


@_disable_dynamo
def _confirm(wrapped: WrappedModel, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if getattr(wrapped, "_is_replica", False):
        raise WrapError(
            f"{wrapped.location.name} is taken for the classifier until a first forward pass confirms it, which no replica of "
            "DataParallel can do: run the model once before, or give wrap() an example= or head="
        )
    with _confirming:  # other threads wait here
        if wrapped._unconfirmed:
            confirm(wrapped.model, wrapped.location, *wrapped._standing(), args, kwargs)
        wrapped._unconfirmed = False


def _blank(model: nn.Module) -> WrappedModel:
    """An empty wrapped model, for pickle to fill."""
    return (kind := class_for(bare(model))).__new__(kind)


def class_for(model: nn.Module) -> type[WrappedModel]:
    """A class whose ``forward`` shows the model's parameters and the new ones: a Trainer keeps the columns it finds."""

    def forward(self: WrappedModel, *args: Any, **kwargs: Any) -> Any:
        return WrappedModel.forward(self, *args, **kwargs)

    forward.__doc__ = WrappedModel.forward.__doc__
    forward.__signature__ = shown_signature(model, WrappedModel.forward)  # type: ignore[attr-defined]
    return type(WrappedModel.__name__, (WrappedModel,), {"forward": forward, "__module__": __name__})
