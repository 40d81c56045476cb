"""Finds a model's classifier, or says why it cannot.

In this order: the name that the user gives; timm's ``get_classifier()``; the ``classifier`` of transformers'
classification classes; a dry run with an example, which looks for the module whose output *is* the logits. Never a guess
such as "the last linear layer".
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dsnet_plugin.errors import HeadNotFoundError
from dsnet_plugin.modes import eval_mode


@dataclass(frozen=True)
class Location:
    """Where a classifier stands: its dotted names, the width D of what it is given, and how many classes it gives.

    ``behind``: features become one row an utterance only behind the classifier, since the model averages or joins what goes
    into several heads (timm's distilled transformers and CrossViT, which have several names) or pools after it (CLIP's
    attention pooling). A head then stands behind the model, and the classifier lets features through.
    """

    names: tuple[str, ...]
    in_features: int
    num_classes: int
    behind: bool = False

    @property
    def name(self) -> str:
        """The names, for a message."""
        return ", ".join(self.names)


def locate(model: nn.Module, head: str | None = None, example: Any = None, num_classes: int | None = None) -> Location:
    """Finds the classifier of a model, which stays as it is.

    Args:
        model: any model with a classifier.
        head: the classifier's dotted name, as in ``model.named_modules()``.
        example: one input of the model: a tensor, or a dict of keyword arguments.
        num_classes: which of several heads is wanted, by its number of classes.

    Raises:
        HeadNotFoundError: no such name (with near misses), or no way to tell (with the candidates).
    """
    if head is not None:
        return _named(model, head)
    if callable(getattr(model, "get_classifier", None)) and hasattr(model, "num_features"):
        return _timm(model, example)
    classifier = getattr(model, "classifier", None)
    if hasattr(getattr(model, "config", None), "model_type") and isinstance(classifier, nn.Module):
        return _named(model, "classifier")
    if example is None:
        raise HeadNotFoundError(
            f"cannot tell the classifier of {type(model).__name__}: give its name with head=, or one input with example="
            f"{_candidates(model)}"
        )
    return _probed(model, example, num_classes)


def _named(model: nn.Module, name: str) -> Location:
    modules = dict(model.named_modules(remove_duplicate=False))
    if name not in modules or not name:
        near = get_close_matches(name, modules, n=3, cutoff=0.4)
        hint = f"; near: {', '.join(near)}" if near else ""
        raise HeadNotFoundError(f"{type(model).__name__} has no module {name!r}{hint}{_candidates(model)}")
    widths = _widths(modules[name])
    if widths is None:
        raise HeadNotFoundError(
            f"{name} is a {type(modules[name]).__name__} without a linear or convolution layer; expected a "
            f"classifier{_candidates(model)}"
        )
    return Location((name,), *widths)


def _timm(model: nn.Module, example: Any) -> Location:
    found = model.get_classifier()  # type: ignore[operator]
    # Some of timm's heads are given whole, with the pooling in front of their fc.
    parts = list(found) if isinstance(found, tuple | list | nn.ModuleList) else [getattr(found, "fc", found)]
    names = {module: name for name, module in model.named_modules()}
    widths = [_widths(part) if part in names else None for part in parts]
    width = widths[0] if widths else None
    if width is None or None in widths:
        raise HeadNotFoundError(
            f"{type(model).__name__} was made without a classifier that can be replaced; create it with num_classes above "
            f"0, or give head={_candidates(model)}"
        )
    place = Location(tuple(names[part] for part in parts), *width)
    run = _dry_run(model, place.names, example)
    if len(parts) == 1 and (run is None or not run.tokens):
        if run is not None and run.more_behind:
            raise HeadNotFoundError(
                f"{type(model).__name__} adds something to what {place.name} gives, such as an auxiliary head's logits: "
                f"make it without (timm's use_aux_head=False), or give head={place.name!r} to have them added all the same"
            )
        return place
    # num_features is the width of the feature maps; the features that come out without classifiers tell the width here.
    run = _dry_run(model, place.names, example, without=True)
    if run is not None and len(run.output) != 2:
        raise HeadNotFoundError(
            f"{type(model).__name__} does not join the features in front of {place.name} in one row an utterance, or is "
            "made for inputs of another size: give one with example=, or one head's name with head="
        )
    return replace(place, in_features=run.output[1] if run else width[0], behind=True)


class _Run(NamedTuple):
    """What a dry run saw: the output's shape, whether the first classifier is given tokens, and whether it has no last word."""

    output: tuple[int, ...]
    tokens: bool
    more_behind: bool


def _dry_run(model: nn.Module, names: tuple[str, ...], example: Any, without: bool = False) -> _Run | None:
    """Runs a timm model on shapes alone, with or without its classifiers; None where shapes alone do not do."""
    channels = next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), 3)
    own_size = getattr(getattr(model, "patch_embed", None), "img_size", None)  # of a transformer made for other images
    size = own_size or getattr(model, "default_cfg", {}).get("input_size", (3, 224, 224))[1:]
    image = example.to("meta") if isinstance(example, Tensor) else torch.zeros(1, channels, *size, device="meta")
    calls: list[tuple[Tensor, Tensor]] = []
    try:
        # A copy that shares nothing, so that the model stays as it is, and that has no numbers, so that it costs nothing.
        tensors: dict[int, Any] = {id(b): b.to("meta") for b in model.buffers()}
        tensors |= {id(p): nn.Parameter(p.to("meta"), p.requires_grad) for p in model.parameters()}
        model = copy.deepcopy(model, tensors).eval()
        model.get_submodule(names[0]).register_forward_hook(lambda _, inputs, out: calls.append((inputs[0], out)))
        for name in names if without else ():
            set_module(model, name, nn.Identity())
        with torch.no_grad():
            output = model(image)
    except (RuntimeError, ValueError, TypeError, AssertionError):
        # Shapes alone do not do for this model, its features cannot be joined, or it is made for images of another size.
        return _Run((), False, False) if without else None
    tokens = len(calls) == 1 and calls[0][0].dim() == 3
    more_behind = len(calls) == 1 and calls[0][1].dim() == 2 and calls[0][1] is not output
    return _Run(tuple(output.shape), tokens, more_behind)


def set_module(model: nn.Module, name: str, module: nn.Module) -> None:
    """Puts a module in the place of a dotted name."""
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)


def _probed(model: nn.Module, example: Any, num_classes: int | None) -> Location:
    calls: list[tuple[str, nn.Module, Any, Any]] = []
    handles = [
        module.register_forward_hook(
            lambda module, inputs, output, name=name: calls.append(
                (name, module, inputs[0] if inputs else None, output)
            )
        )
        for name, module in model.named_modules()
        if name and not any(module.children())
    ]
    try:
        with torch.no_grad(), eval_mode(model):
            output = model(**example) if isinstance(example, Mapping) else model(example)
    finally:
        for handle in handles:
            handle.remove()
    found = {}
    for logits in _tensors(output):
        for name, module, inputs, result in reversed(calls):
            if result is not logits:
                continue
            if not any(True for _ in module.parameters(recurse=False)):
                logits = inputs  # a softmax, dropout or the like: what went in are the logits  # noqa: PLW2901
            elif isinstance(module, nn.Linear) and isinstance(inputs, Tensor) and inputs.dim() == logits.dim() == 2:
                found[name] = Location((name,), inputs.shape[1], logits.shape[1])
                break
            else:
                break  # features, such as a normalisation gives, and no logits
    matching = [place for place in found.values() if num_classes in (None, place.num_classes)]
    repeated = [name for name in found if sum(call[0] == name for call in calls) > 1]
    if len(matching) != 1 or repeated:
        seen = f"{', '.join(found)} give its outputs" if found else "no linear layer's output is an output of it"
        raise HeadNotFoundError(
            f"cannot tell the classifier of {type(model).__name__} from the example: {seen}"
            + (f", {', '.join(repeated)} is called more than once" if repeated else "")
            + f"; give its name with head={_candidates(model)}"
        )
    return matching[0]


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from _tensors(value)
    elif isinstance(output, tuple | list):
        for value in output:
            yield from _tensors(value)


def _layers(module: nn.Module) -> list[nn.Module]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d)]


def _widths(module: nn.Module) -> tuple[int, int] | None:
    """What a classifier takes and gives, by its first and its last layer."""
    layers = _layers(module)
    if not layers:
        return None
    first, last = layers[0], layers[-1]
    width = first.in_features if isinstance(first, nn.Linear) else first.in_channels
    classes = last.out_features if isinstance(last, nn.Linear) else last.out_channels
    return int(width), int(classes)  # type: ignore[arg-type]


def _candidates(model: nn.Module, shown: int = 5) -> str:
    """The last linear layers in the order of the module tree, for a message."""
    lines = [
        f"{name} ({layer.in_features} to {layer.out_features})"
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear)
    ]
    return f"; candidates: {', '.join(lines[-shown:])}" if lines else "; it has no linear layer"
