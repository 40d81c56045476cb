"""Finds the place of a head in a model, or says why it cannot.

The place is the whole block that turns an utterance's features into logits. It is found, in this order, by the name that the
user gives; timm's ``get_classifier()``; the ``classifier`` of transformers' classification classes; one forward pass with an
example; and last by the module tree, which the first forward pass of the wrapped model has to confirm.
"""

import logging
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from torch import nn

from dsnet_plugin.errors import HeadNotFoundError, ShapeError
from dsnet_plugin.slot import HeadSlot
from dsnet_plugin.wrapping.blocks import Block, layers_of, run_alone
from dsnet_plugin.wrapping.dry_run import untouched
from dsnet_plugin.wrapping.inputs import inputs_of
from dsnet_plugin.wrapping.replace import check_whole, put
from dsnet_plugin.wrapping.search import as_named, candidates, in_trace, in_tree, listed, nested
from dsnet_plugin.wrapping.timm import heads_of, is_timm
from dsnet_plugin.wrapping.trace import Trace, storage, tensors, trace

log = logging.getLogger("dsnet_plugin")

BY_EXAMPLE, BY_TREE = "the example", "the module tree, for the first forward pass to confirm"


@dataclass(frozen=True)
class Location:
    """Where a classifier stands.

    Args:
        names: its dotted names; several where the model joins what several classifiers give.
        in_features: D, the width of its input.
        num_classes: how many classes it gives.
        behind: features become one row an utterance only behind the classifier, since the model averages or joins what goes
            into several heads (timm's distilled transformers and CrossViT) or pools after it (CLIP's attention pooling). A
            head then stands behind the model, and the classifier lets features through.
        told_by: what the place was found by.
        alternatives: the other places where a head could have stood, with their widths.
    """

    names: tuple[str, ...]
    in_features: int
    num_classes: int
    behind: bool = False
    told_by: str = field(default="its name", compare=False)
    alternatives: tuple[str, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """The names, for a message."""
        return ", ".join(self.names)


def locate(model: nn.Module, head: str | None = None, example: Any = None, num_classes: int | None = None) -> Location:
    """Finds the classifier of a model, which stays as it is.

    Args:
        model: any model with a classifier.
        head: the classifier's dotted name, as in ``model.named_modules()``.
        example: one input of the model: a tensor, a tuple of positional arguments, or a dict of keyword arguments. Beside
            ``head`` it shows whether what is named is called once, with one row of features an utterance.
        num_classes: the number of classes that is wanted. It decides between several heads, and without an example between
            the layers of the module tree.

    Raises:
        HeadNotFoundError: no such name (with near misses), or no way to tell (with the candidates).
        WrapError: without an example, a model that keeps a part of the classifier elsewhere, too; or one without a forward.
    """
    if head is not None:
        location = _named(model, head)
        if example is not None:
            as_named(_pass(model, example), head)
        else:
            check_whole(model, head)
        return location
    if is_timm(model):
        return Location(*heads_of(model, example), told_by="timm's get_classifier()")
    classifier = getattr(model, "classifier", None)
    if hasattr(getattr(model, "config", None), "model_type") and isinstance(classifier, nn.Module):
        # A wrapper such as PEFT's shows the classifier of the model inside, whose name is another here.
        name = next((name for name, module in model.named_modules() if module is classifier), None)
        if name is not None:
            return replace(_named(model, name), told_by="transformers' classifier")
    if example is not None:
        place, told_by = in_trace(_pass(model, example), num_classes), BY_EXAMPLE
    elif num_classes is not None:
        place, told_by = in_tree(model, num_classes), BY_TREE
        check_whole(model, place.name)
    else:
        raise HeadNotFoundError(
            f"cannot tell the classifier of {type(model).__name__}: give the number of classes with num_classes=, its name "
            f"with head=, or one input with example={candidates(model)}"
        )
    block = place.block
    return Location((place.name,), block.in_features, block.num_classes, False, told_by, place.alternatives)


def _pass(model: nn.Module, example: Any) -> Trace:
    """A forward pass with an example."""
    args, kwargs = inputs_of(model).call(example)
    with untouched(model):
        return trace(model, args, kwargs)


def confirm(
    model: nn.Module,
    location: Location,
    standing: HeadSlot,
    replaced: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """Checks by a forward pass that a place is the classifier's; the model stays as it is.

    Of a place that the user named, which may be wanted for its own sake, a warning says what is odd. Another warns of a criterion
    that does not see what the model returns.

    Args:
        model: with a module standing in the place.
        location: the place.
        standing: that module.
        replaced: the module that stood there before.
        args: the model's inputs.
        kwargs: the model's inputs.

    Raises:
        HeadNotFoundError: what stands there does not give what the model returns, or is not the only one that does.
    """
    seen = None
    try:
        with untouched(model):
            seen = trace(model, args, kwargs)
        was = Block(location.in_features, location.num_classes)
        place = in_trace(seen, standing.head.num_classes, (standing, was))
        told = f"the model's output comes from {place.name}"
        right = model.get_submodule(place.name) is standing
    except (HeadNotFoundError, ShapeError) as error:
        right, told = False, str(error)
    except Exception as error:  # the inputs are at fault if the model fails on them without a head, too
        put(model, standing, replaced)
        try:
            with untouched(model):
                model(*args, **kwargs)
        finally:
            put(model, replaced, standing)
        right, told = False, f"with a head there it ends in {type(error).__name__}: {error}"
    if seen is not None and location.told_by not in (BY_TREE, BY_EXAMPLE):
        _warn_of_the_name(model, location, seen, standing)
        return
    if seen is not None and right:
        _warn_of_a_function(model, seen, standing)
    if not right and location.told_by == BY_TREE:
        raise HeadNotFoundError(
            f"{location.name} was taken for the classifier of {type(model).__name__} from its modules, and the first forward "
            f"pass does not confirm it ({told}): unwrap() gives the model back; wrap it with head= or example="
        )
    if not right:
        raise HeadNotFoundError(
            f"{location.name} was taken for the classifier of {type(model).__name__} by {location.told_by}, and the model does not "
            f"return what a head there gives ({told}): give the classifier's name with head={candidates(model)}"
        )


def _warn_of_the_name(model: nn.Module, location: Location, seen: Trace, standing: HeadSlot) -> None:
    """Says that a place which the user named does not give, by itself, anything that the model returns."""
    end = len(seen.operations)
    calls = [call for call in seen.calls if call.module is standing]
    if not any(seen.depends_on_alone(value, end, call) for call in calls for value in tensors(seen.output)):
        log.warning(
            "%s: nothing that the model returns is what a head in the place of %s gives, or a function of that alone; the "
            "loss is that of the head",
            type(model).__name__,
            location.name,
        )


def _warn_of_a_function(model: nn.Module, seen: Trace, standing: HeadSlot) -> None:
    """Says that a criterion sees something else than what the model returns, which computes that from the logits."""
    given = {storage(value) for call in seen.calls if call.module is standing for value in tensors(call.output)}
    if standing.head.task_loss.criterion is not None and not given & {storage(v) for v in tensors(seen.output)}:
        log.warning(
            "the criterion is given the head's logits, from which %s computes what it returns", type(model).__name__
        )


def block_at(model: nn.Module, name: str) -> Block:
    """The block of a dotted name.

    Raises:
        HeadNotFoundError: no such name, or no block that a head can stand in for.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    if name not in modules or not name:
        near = get_close_matches(name, modules, n=3, cutoff=0.4)
        hint = f"; near: {', '.join(near)}" if near else ""
        raise HeadNotFoundError(f"{type(model).__name__} has no module {name!r}{hint}{candidates(model)}")
    block = run_alone(modules[name])
    if isinstance(block, str):
        raise HeadNotFoundError(f"no head can stand in for {name}, which {block}{candidates(model)}")
    return block


def _named(model: nn.Module, name: str) -> Location:
    block = block_at(model, name)
    layer = ".".join(part for part in (name, layers_of(model.get_submodule(name))[-1][0]) if part)
    others = listed([place for place in nested(model, layer) if place[0] != name])
    return Location((name,), block.in_features, block.num_classes, alternatives=others)
