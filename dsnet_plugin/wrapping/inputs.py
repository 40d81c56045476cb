"""What a model's forward takes, and how an example or neutral speech is given to it."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

from torch import Tensor, nn

from dsnet_plugin.errors import WrapError

VARIABLE = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class Inputs:
    """The inputs of a model's forward.

    Args:
        names: what can be given by keyword.
        any_keyword: whether other keywords are taken, too.
        labels_at: the place of ``labels`` among positional arguments, None without.
        needs_labels: whether ``labels`` has no default, so that the model has to be given them.
    """

    names: frozenset[str]
    any_keyword: bool
    labels_at: int | None
    needs_labels: bool

    def takes(self, name: str) -> bool:
        """Whether forward has a keyword of this name."""
        return self.any_keyword or name in self.names

    def call(self, inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional arguments and keywords from a tensor, a tuple of positional arguments, or a dict of keywords.

        A dict none of whose keys is a keyword of forward is what a forward with one dict takes.
        """
        if isinstance(inputs, Mapping):
            if self.any_keyword or not self.names or any(name in self.names for name in inputs):
                return (), dict(inputs)
            return (inputs,), {}
        return (inputs if isinstance(inputs, tuple) else (inputs,)), {}

    def take_labels(self, args: tuple[Any, ...], labels: Any) -> tuple[tuple[Any, ...], Any]:
        """The positional arguments without the labels, and the labels, whether they came among those or by keyword."""
        at = self.labels_at
        if at is None or len(args) <= at:
            return args, labels
        return (*args[:at], None, *args[at + 1 :]), args[at] if labels is None else labels

    def give_labels(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], labels: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, with the labels among them if the model requires labels."""
        if not self.needs_labels or "labels" in kwargs:
            return args, dict(kwargs)
        at = self.labels_at
        if at is not None and len(args) > at:
            return (*args[:at], labels, *args[at + 1 :]), dict(kwargs)
        return args, {**kwargs, "labels": labels}

    def give_neutral_labels(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], labels: Tensor | None
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a neutral pass, with zeros as labels if the model requires labels; nothing learns from them.

        Where the utterances come without labels, so does their neutral speech.
        """
        if labels is None or not self.needs_labels:
            return self.give_labels(args, kwargs, labels)
        rows = next((len(value) for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), len(labels))
        return self.give_labels(args, kwargs, labels.new_zeros(rows, *labels.shape[1:]))


def inputs_of(model: nn.Module) -> Inputs:
    """What a model's forward takes.

    Raises:
        WrapError: the model has no forward of its own.
    """
    parameters = parameters_of(model)
    named = [p for p in parameters if p.kind not in VARIABLE]
    positional = [p.name for p in named if p.kind is not Parameter.KEYWORD_ONLY]
    labels = next((p for p in named if p.name == "labels"), None)
    return Inputs(
        names=frozenset(p.name for p in named if p.kind is not Parameter.POSITIONAL_ONLY),
        any_keyword=any(p.kind is Parameter.VAR_KEYWORD for p in parameters),
        labels_at=positional.index("labels") if "labels" in positional else None,
        needs_labels=labels is not None and labels.default is Parameter.empty,
    )


def parameters_of(model: nn.Module) -> list[Parameter]:
    """The parameters of a model's forward, without ``self``.

    Where a wrapper such as PEFT or DDP passes on whatever it is given, they are those of the model inside.

    Raises:
        WrapError: the model has no forward of its own.
    """
    if hasattr(model, "_orig_mod"):
        raise WrapError("this model is compiled already: wrap it first, and give torch.compile what wrap() gave")
    if getattr(type(model), "forward", None) is nn.Module.forward:
        raise WrapError(
            f"{type(model).__name__} has no forward, in which the head is asked: wrap a module whose forward takes the inputs, "
            "does the work and returns the scores"
        )
    inner, parameters = model, _signature(model)
    while all(p.kind in VARIABLE for p in parameters) and len(children := list(inner.children())) == 1:
        inner = children[0]
        if getattr(type(inner), "forward", None) is nn.Module.forward:
            break
        parameters = _signature(inner)
    return parameters


def _signature(model: nn.Module) -> list[Parameter]:
    return [p for p in inspect.signature(model.forward).parameters.values() if p.name != "self"]


def shown_signature(model: nn.Module, forward: Any) -> inspect.Signature:
    """A signature with the model's inputs, the keywords of a wrapped model's forward, and a ``neutral_`` one an input."""
    theirs = [p for p in parameters_of(model) if p.name != "labels"]
    plain = [p for p in theirs if p.kind is not Parameter.VAR_KEYWORD]
    added = [p for p in inspect.signature(forward).parameters.values() if p.kind is Parameter.KEYWORD_ONLY]
    inputs = [p.name for p in plain if p.kind is not Parameter.VAR_POSITIONAL]
    known = {p.name for p in (*plain, *added)}
    columns = [
        Parameter(f"neutral_{name}", Parameter.KEYWORD_ONLY, default=None)
        for name in inputs
        if f"neutral_{name}" not in known
    ]
    rest = [p for p in theirs if p.kind is Parameter.VAR_KEYWORD]
    me = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
    return inspect.Signature([me, *sorted([*plain, *added, *columns, *rest], key=lambda p: p.kind)])
