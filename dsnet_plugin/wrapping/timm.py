"""timm's models, which say themselves what their classifier is; a dry run on shapes tells how features reach it."""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dsnet_plugin.errors import HeadNotFoundError
from dsnet_plugin.wrapping.blocks import layers_of
from dsnet_plugin.wrapping.replace import put
from dsnet_plugin.wrapping.search import candidates
from dsnet_plugin.wrapping.trace import tensors


class Heads(NamedTuple):
    """The names of a timm model's classifiers, the width of the features, and whether a head is to stand behind the model."""

    names: tuple[str, ...]
    in_features: int
    num_classes: int
    behind: bool


def is_timm(model: nn.Module) -> bool:
    """Whether a model is one of timm's, with timm's own forward: what copied its names may do something else with them."""
    library = getattr(type(model).forward, "__module__", "").partition(".")[0]
    return library == "timm" and callable(getattr(model, "get_classifier", None))


def heads_of(model: nn.Module, example: Any) -> Heads:
    """The classifiers of a timm model.

    Raises:
        HeadNotFoundError: it was made without, or its outputs are not those of its classifiers.
    """
    classifier = model.get_classifier()  # type: ignore[operator]
    # Some of timm's models give the whole head, with the pooling in front of its fc.
    parts = (
        list(classifier)
        if isinstance(classifier, tuple | list | nn.ModuleList)
        else [getattr(classifier, "fc", classifier)]
    )
    names = {module: name for name, module in model.named_modules()}
    widths = [_widths(part) if part in names else None for part in parts]
    width = widths[0] if widths else None
    if width is None or None in widths:
        raise HeadNotFoundError(
            f"{type(model).__name__} was made without a classifier that can be replaced; create it with num_classes above "
            f"0, or give head={candidates(model)}"
        )
    heads = Heads(tuple(names[part] for part in parts), *width, behind=False)
    listed = ", ".join(heads.names)
    run = _dry_run(model, heads.names, example)
    if len(parts) == 1 and (run is None or not run.tokens):
        if run is not None and run.more_behind:
            raise HeadNotFoundError(
                f"{type(model).__name__} adds something to what {listed} gives, such as an auxiliary head's logits: "
                f"make it without (timm's use_aux_head=False), or give head={listed!r} to have them added all the same"
            )
        return heads
    # num_features is the width of the feature maps; the features that come out without classifiers tell the width here.
    run = _dry_run(model, heads.names, example, without=True)
    if run is not None and len(run.output) != 2:
        raise HeadNotFoundError(
            f"{type(model).__name__} does not join the features in front of {listed} in one row an utterance, or is "
            "made for inputs of another size: give one with example=, or one head's name with head="
        )
    return heads._replace(in_features=run.output[1] if run else width[0], behind=True)


class _Run(NamedTuple):
    """What a dry run saw: the output's shape, whether the first classifier takes tokens, and whether the model changes what that
    classifier gives."""

    output: tuple[int, ...]
    tokens: bool
    more_behind: bool


def _dry_run(model: nn.Module, names: tuple[str, ...], example: Any, without: bool = False) -> _Run | None:
    """Runs a timm model on shapes alone, with or without its classifiers; None where it cannot."""
    channels = next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), 3)
    own_size = getattr(getattr(model, "patch_embed", None), "img_size", None)  # of a transformer made for other images
    size = own_size or getattr(model, "default_cfg", {}).get("input_size", (3, 224, 224))[1:]
    image = next(tensors(example), torch.zeros(1, channels, *size)).to("meta")
    calls: list[tuple[Tensor, Tensor]] = []
    try:
        # The copy shares nothing with the model, which stays as it is, and holds no numbers, so that it costs nothing.
        memo: dict[int, Any] = {id(b): b.to("meta") for b in model.buffers()}
        memo |= {id(p): nn.Parameter(p.to("meta"), p.requires_grad) for p in model.parameters()}
        model = copy.deepcopy(model, memo).eval()
        model.get_submodule(names[0]).register_forward_hook(lambda _, inputs, out: calls.append((inputs[0], out)))
        for name in names if without else ():
            put(model, model.get_submodule(name), nn.Identity())
        with torch.no_grad():
            output = model(image)
    except (RuntimeError, ValueError, TypeError, AssertionError):
        # This model cannot run on shapes alone, its features cannot be joined, or it takes images of another size.
        return _Run((), False, False) if without else None
    tokens = len(calls) == 1 and calls[0][0].dim() == 3
    more_behind = len(calls) == 1 and calls[0][1].dim() == 2 and calls[0][1] is not output
    return _Run(tuple(output.shape), tokens, more_behind)


def _widths(module: nn.Module) -> tuple[int, int] | None:
    """The width that a classifier's first layer takes, and the number of classes that its last one gives."""
    layers = [layer for _, layer in layers_of(module)]
    if not layers:
        return None
    first, last = layers[0], layers[-1]
    width = first.in_features if isinstance(first, nn.Linear) else first.in_channels
    classes = last.out_features if isinstance(last, nn.Linear) else last.out_channels
    return int(width), int(classes)  # type: ignore[arg-type]
