"""Two lines around any model: its classifier becomes a disentanglement head, its forward takes labels and neutral speech.

The head takes the classifier's place in the module tree and is no hook, so that ``state_dict``, ``.to()``, DDP,
``torch.compile``, ``deepcopy``, ``torch.export`` and ONNX see ordinary modules.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from dsnet_plugin.classes import declare_classes, restore_classes
from dsnet_plugin.config import DisentangleConfig
from dsnet_plugin.copying import copy_of
from dsnet_plugin.digests import digests_without
from dsnet_plugin.errors import ShapeError, WrapError
from dsnet_plugin.head import DisentangleHead
from dsnet_plugin.locate import Location, locate, set_module
from dsnet_plugin.neutral_pass import neutral_pass
from dsnet_plugin.slot import HeadBehind, HeadSlot, StrippedHead
from dsnet_plugin.stripped import record_head
from dsnet_plugin.task import Criterion, criterion_of


@dataclass(frozen=True)
class Status:
    """Where a head stands and what it costs; ``training_only`` are the parameters that ``strip`` leaves out."""

    model: str
    head: str
    in_features: int
    num_classes: int
    parameters: int
    training_only: int
    weights: dict[str, float]

    def __str__(self) -> str:
        """Four lines for a person."""
        weights = ", ".join(f"{name} {value:g}" for name, value in self.weights.items())
        return (
            f"{self.model}: DisentangleHead in the place of {self.head}\n"
            f"{self.in_features} features to {self.num_classes} classes\n"
            f"{self.parameters:,} parameters, {self.parameters - self.training_only:,} in inference\n"
            f"loss weights: {weights}"
        )


class WrappedModel(nn.Module):
    """A model whose classifier is a :class:`DisentangleHead`; :func:`wrap` makes it.

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
        bare = model.backbone if isinstance(model, HeadBehind) else model
        self._said = declare_classes(bare, location.names, location.num_classes, slot.head.num_classes)
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
            # Not there yet, as while a copy is made; or how to copy and pickle the model, which is not how to do it here.
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
        return_objective: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The model's own output; with labels the whole objective (eq. 10), both passes in this one call.

        Args:
            args: the model's inputs.
            labels: class indices, shape (N,); or what the criterion takes.
            neutral: inputs of neutral utterances of the same speakers, a tensor or a dict of keyword arguments: N rows,
                or K distinct ones with ``neutral_index``. ``neutral_<input>=`` for each of the model's inputs says the
                same, as a table's columns can.
            neutral_index: see :meth:`DisentangleHead.forward`.
            neutral_mask: see :meth:`DisentangleHead.forward`.
            neutral_features: features of the neutral utterances, in place of ``neutral``, shape (N or K, D).
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
            WrapError: neutral inputs given twice, or without labels in training, or a model that does not call its
                classifier.
        """
        columns = {name[len("neutral_") :]: kwargs.pop(name) for name in list(kwargs) if name.startswith("neutral_")}
        if labels is None and not return_objective:
            if self.training and (columns or neutral is not None or neutral_features is not None):
                raise WrapError(
                    "neutral inputs and no labels in training: the objective would be left out; pass labels= (a Trainer "
                    "keeps them back for label smoothing or a compute_loss_func of its own: give wrap() a criterion= "
                    "instead), or return_objective=True to compute the task's loss yourself"
                )
            return self.model(*args, **kwargs)
        if (neutral is not None) + (neutral_features is not None) + bool(columns) > 1:
            raise WrapError(
                "neutral inputs are given twice: expected one of neutral, neutral_features, neutral_<input>"
            )
        neutral = columns or neutral
        if neutral is not None:
            own_args, own_kwargs = ((), neutral) if isinstance(neutral, Mapping) else ((neutral,), {})
            neutral_features = neutral_pass(self.model, lambda: self._ask(own_args, own_kwargs, {})[1])
        request = {
            "labels": labels,
            "neutral": neutral_features,
            "neutral_index": neutral_index,
            "neutral_mask": neutral_mask,
            "return_objective": True,
        }
        output, answer = self._ask(args, kwargs, request)
        if return_objective:
            return output, answer
        if isinstance(output, Mapping) and hasattr(output, "loss"):
            return type(output)(**{**output, "loss": answer.loss})
        return answer

    def _ask(self, args: Any, kwargs: Mapping[str, Any], request: dict[str, Any]) -> Any:
        """Runs the model with a request to its slot; returns the model's output and the slot's answer."""
        slot = self._slot[0]
        slot.request, slot.answer = request, None
        try:
            output = self.model(*args, **kwargs)
            answer = slot.answer
        finally:  # what is kept would outlive its graph, and break deepcopy
            slot.request = slot.answer = None
        if answer is None:
            raise WrapError(f"{type(self.model).__name__} did not call {self.location.name} in this forward pass")
        return output, answer

    def status(self) -> Status:
        """Where the head stands, its widths, parameters with and without the training-only parts, loss weights."""
        head, config = self.head, self.head.config
        return Status(
            model=type(self.model).__name__,
            head=self.location.name,
            in_features=head.in_features,
            num_classes=head.num_classes,
            parameters=sum(p.numel() for p in self.parameters()),
            training_only=sum(
                p.numel() for part in (head.p_ei, head.restorer, head.task_loss) for p in part.parameters()
            ),
            weights={"orthogonality": config.alpha, "reconstruction": config.beta, "calibration": config.gamma},
        )

    def strip(self) -> nn.Module:
        """A copy of the model for deployment, in eval mode: encoder, P_er and C. This one stays as it is.

        The copy returns what the model returned; in training mode it raises :class:`WrapError`.
        """
        return copy_of(self).strip_in_place()

    def strip_in_place(self) -> nn.Module:
        """The model itself, stripped; this one is of no use after. For :func:`~dsnet_plugin.stripped.load_stripped`."""
        stripped, name = StrippedHead(self.head), self.location.names[0]
        record_head(self.model, name, self.head, stripped, self._replaced[0][name])
        _put(self.model, self._slot[0], stripped)
        return self.model.eval()

    def unwrap(self) -> nn.Module:
        """The original model, with its classifier back in place and all else as trained; this one is of no use after."""
        model: nn.Module = self.model.backbone if isinstance(self.model, HeadBehind) else self.model
        like = next(self.head.parameters())
        for name, module in self._replaced[0].items():
            set_module(model, name, module.to(like.device, like.dtype).train(self.training))
        restore_classes(self._said)
        return model

    def save_pretrained(self, folder: Any) -> None:
        """See :func:`dsnet_plugin.save_pretrained`."""
        from dsnet_plugin.serialization import save_pretrained  # which knows this class

        save_pretrained(self, folder)


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
        num_classes: the number of emotions; None keeps the classifier's.
        head: the classifier's dotted name, where it is not found without.
        example: one input (a tensor, or a dict of keyword arguments) for a dry run that finds the classifier.
        config: loss variants, weights and widths; None is the paper's.
        criterion: the task's loss, see :class:`DisentangleHead`; None is cross-entropy, or what a transformers model's
            ``config.problem_type`` says.

    Returns:
        The wrapped model. Its new modules have the device, dtype and mode of the classifier.

    Raises:
        HeadNotFoundError: the classifier cannot be told; the candidates are named. The model is then as it was.
        WrapError: the model is wrapped already.

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
    location = locate(model, head, example, num_classes)
    widths = location.in_features, num_classes or location.num_classes
    return attach(model, DisentangleHead(*widths, config, criterion or criterion_of(model)), location)


def attach(model: nn.Module, head: DisentangleHead, location: Location | str) -> WrappedModel:
    """Puts a head of one's own in a classifier's place; :func:`wrap` finds the place and makes the head.

    Args:
        model: gets the head, in place.
        head: as wide as the features at that place.
        location: what :func:`locate` found, or a dotted name.

    Raises:
        HeadNotFoundError: no such name.
        ShapeError: the head has another width than the features.
    """
    location = locate(model, head=location) if isinstance(location, str) else location
    if head.in_features != location.in_features:
        raise ShapeError(
            f"the head takes {head.in_features} features and {location.name} is given {location.in_features}; "
            f"expected DisentangleHead(in_features={location.in_features}, ...)"
        )
    # A place in another model is refused before anything is touched. What goes into several classifiers may be joined.
    widths = [locate(model, head=name).in_features for name in location.names]
    if {*widths} != {head.in_features} and not (location.behind and sum(widths) == head.in_features):
        raise ShapeError(
            f"the head takes {head.in_features} features and {location.name} of this {type(model).__name__} is given "
            f"{' and '.join(map(str, widths))}"
        )
    wrapper = _with_signature(model)
    replaced = {name: model.get_submodule(name) for name in location.names}
    # A quantised classifier has whole numbers, which nothing can be trained in.
    numbers = [p for module in (*replaced.values(), model) for p in module.parameters() if p.is_floating_point()]
    head = head.to(numbers[0].device, numbers[0].dtype) if numbers else head
    slot = HeadSlot(head.train(model.training)).train(model.training)
    if location.behind:
        for module in replaced.values():
            _put(model, module, nn.Identity())
        model = HeadBehind(model, slot).train(model.training)
    else:
        _put(model, replaced[location.names[0]], slot)
    return wrapper(model, slot, location, replaced)


def _with_signature(model: nn.Module) -> type[WrappedModel]:
    """A class whose ``forward`` shows the model's parameters and the new ones: a Trainer keeps the columns it finds."""
    kind, keyword = inspect.Parameter, inspect.Parameter.KEYWORD_ONLY
    theirs = [p for p in inspect.signature(model.forward).parameters.values() if p.name not in ("self", "labels")]
    plain = [p for p in theirs if p.kind is not kind.VAR_KEYWORD]
    own = [p for p in inspect.signature(WrappedModel.forward).parameters.values() if p.kind is keyword]
    columns = [kind(f"neutral_{p.name}", keyword, default=None) for p in plain if p.kind is not kind.VAR_POSITIONAL]
    rest = [p for p in theirs if p.kind is kind.VAR_KEYWORD]
    known = {p.name for p in (*plain, *own)}
    shown = [*plain, *own, *(p for p in columns if p.name not in known), *rest]

    def forward(self: WrappedModel, *args: Any, **kwargs: Any) -> Any:
        return WrappedModel.forward(self, *args, **kwargs)

    forward.__doc__ = WrappedModel.forward.__doc__
    me = kind("self", kind.POSITIONAL_OR_KEYWORD)
    shown.sort(key=lambda p: p.kind)
    forward.__signature__ = inspect.Signature([me, *shown])  # type: ignore[attr-defined]
    return type(WrappedModel.__name__, (WrappedModel,), {"forward": forward, "__module__": __name__})


def _put(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Puts a module in another one's place, under each of the names that it has."""
    for name, module in list(model.named_modules(remove_duplicate=False)):
        if module is old:
            set_module(model, name, new)
