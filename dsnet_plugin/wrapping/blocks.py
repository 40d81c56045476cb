"""Which modules a head can stand in for: blocks that turn one row of features an utterance into one row of scores."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dsnet_plugin.wrapping.dry_run import untouched
from dsnet_plugin.wrapping.trace import ModuleCall, Trace, storage, tensors, trace

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
ACTIVATIONS = {
    "softmax",
    "log_softmax",
    "sigmoid",
    "log_sigmoid_forward",
    "tanh",
    "relu",
    "softplus",
    "elu",
    "gelu",
    "silu",
}
ACTIVATIONS |= {"exp", "log", "clamp", "clamp_min"}


@dataclass(frozen=True)
class Block:
    """A classifier that a head can stand in for.

    Args:
        in_features: D, the width of its input.
        num_classes: how many scores it gives.
        channels_first: whether it takes feature maps (N, D, ...), as a convolution does, and not rows (N, D).
        keeps_axes: whether its output has as many axes as its input, instead of always two.
        pools: whether it turns feature maps of any size into one row of scores; where it does not, a map has one place.
        tail: modules without parameters behind its last layer, such as a softmax, that are to stand behind the head.
        tail_axes: how many axes that layer's output has, (N, classes) or (N, classes, 1, ...).
    """

    in_features: int
    num_classes: int
    channels_first: bool = False
    keeps_axes: bool = False
    pools: bool = False
    tail: tuple[nn.Module, ...] = ()
    tail_axes: int = 2


def is_block(module: nn.Module) -> bool:
    """Whether all that a module learns is in linear layers or convolutions and in normalisation between them."""
    kinds = {type(part) for part in _learners(module)}
    return any(issubclass(kind, LAYERS) for kind in kinds) and all(
        issubclass(kind, (*LAYERS, *NORMS, nn.PReLU)) for kind in kinds
    )


def _learners(module: nn.Module) -> Iterator[nn.Module]:
    """The layers with parameters, each whole: what is inside a linear layer, such as a weight norm, is part of it."""
    if isinstance(module, LAYERS) or any(True for _ in module.parameters(recurse=False)):
        yield module
    if not isinstance(module, LAYERS):
        for child in module.children():
            yield from _learners(child)


def run_alone(module: nn.Module) -> Block | str:
    """Runs a block alone on features of its width; returns its description, or why no head can take its place."""
    layers = [layer for _, layer in layers_of(module)]
    if not layers:
        return f"is a {type(module).__name__} without a linear or convolution layer; expected a classifier"
    like = next((p for p in module.parameters() if p.is_floating_point()), torch.empty(0))
    failures: list[str] = []
    # The width is that of the layer that is called first, mostly the first in the tree.
    for first, width in dict.fromkeys((len(getattr(layer, "kernel_size", ())), _width(layer)) for layer in layers):
        features = torch.zeros(3, width, *[1] * first, dtype=like.dtype, device=like.device)
        try:
            with untouched(module):
                seen = trace(module, (features,), {})
            return examine(seen, seen.calls[0])
        except Exception as error:  # whatever a block says to one row an utterance
            failures.append(
                f"is a {type(module).__name__} that does not take one row of {width} features an utterance "
                f"({type(error).__name__}: {' '.join(str(error).split())[:120]})"
            )
    return failures[0]


def examine(seen: Trace, call: ModuleCall) -> Block | str:
    """Describes a block by one of its calls, or says why no head can stand in for it."""
    arguments, scores = [*call.args, *call.kwargs.values()], call.output
    if not isinstance(scores, Tensor):
        return f"gives a {type(scores).__name__} and not its scores alone"
    if len(arguments) != 1 or call.kwargs or not isinstance(arguments[0], Tensor):
        return f"takes {len(arguments)} arguments and not one row of features an utterance alone"
    h = arguments[0]
    first = next((c.module for c in [call, *seen.inside(call)] if isinstance(c.module, LAYERS)), None)
    if first is None:
        return "does not call a linear or convolution layer of its own"
    maps, width = not isinstance(first, nn.Linear), _width(first)
    if problem := _not_rows(call.module, h, scores, first):
        return problem
    foreign = any(key != storage(h) for key, _ in _before(seen, call, scores, h))
    tail = "computes with more than it is given" if foreign else _tail(seen, call)
    if isinstance(tail, str):
        return tail
    pools, classes = maps and _pools(call.module, h, width), scores.shape[1 if maps else -1]
    return Block(width, classes, maps, _keeps_axes(call.module, h, scores), pools, tail, _axes_of_last(seen, call))


def _pointwise(module: nn.Module) -> bool:
    """Whether a block treats each place of a map by itself until it pools: to it a map is much as its mean is."""
    sizes = [size for _, layer in layers_of(module) for size in getattr(layer, "kernel_size", ())]
    return all(size == 1 for size in sizes)


def _pools(module: nn.Module, h: Tensor, width: int) -> bool:
    """Whether a block that takes feature maps gives one row of scores for a map of several places, too."""
    if not _pointwise(module):
        return False
    with untouched(module):
        try:
            scores: Tensor = module(h.new_zeros(2, width, *[4] * (h.dim() - 2)))
        except RuntimeError:
            return False  # it is made for maps of one size
    return scores.dim() == 2 or scores.shape[2:].numel() == 1


def _axes_of_last(seen: Trace, call: ModuleCall) -> int:
    """The axes of what the block's last layer gives, which the tail behind it is made for."""
    layers = [c for c in [call, *seen.inside(call)] if isinstance(c.module, LAYERS)]
    output = max(layers, key=lambda c: c.order).output
    return output.dim() if isinstance(output, Tensor) else 2


def _not_rows(module: nn.Module, h: Tensor, scores: Tensor, first: nn.Module) -> str | None:
    """Why a block does not turn one row of features an utterance into one row of scores; None if it does."""
    maps, width = not isinstance(first, nn.Linear), _width(first)
    classes = scores.shape[1 if maps else -1] if scores.dim() > 1 else 0
    wide = h.dim() > 1 and (h.shape[1] if maps else h.shape[1:].numel()) == width
    if not wide or len(scores) != len(h) or scores.numel() != len(h) * classes:
        frames = " for each frame" if scores.dim() > 2 else ""
        return (
            f"turns {tuple(h.shape)} into scores{frames} {tuple(scores.shape)}, expected one row an utterance, (N, D) into "
            "(N, classes): pool over frames in front of it"
        )
    if maps and h.numel() > len(h) * width and not _pointwise(module):
        return f"looks at several places of a map {tuple(h.shape)} at once, where a head is given their mean"
    return None


def _width(layer: nn.Module) -> int:
    return int(layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels)  # type: ignore[arg-type]


def _keeps_axes(module: nn.Module, h: Tensor, scores: Tensor) -> bool:
    if h.dim() > 2:
        return scores.dim() == h.dim()
    # A call with two axes does not show it; layers keep further axes unless a module flattens them.
    return not any(isinstance(part, nn.Flatten) for part in module.modules())


def _before(seen: Trace, call: ModuleCall, scores: Tensor, h: Tensor) -> Iterator[tuple[int, int | None]]:
    """The storages that the block's scores come from besides its input: the model's other tensors, or older ones."""
    weights = {storage(value) for value in (*call.module.parameters(), *call.module.buffers())}
    # Old weight and spectral norms compute the weight before the call, and keep it as a plain attribute.
    weights |= {storage(value) for part in call.module.modules() for value in tensors([*vars(part).values()])}
    todo, done = [(storage(scores), call.end)], set()
    while todo:
        key, time = todo.pop()
        inside = [op for op in seen.writes.get(key, ()) if call.start <= op < time]
        if key == storage(h) or not inside:
            known = key in seen.inputs or key in seen.parameters or key in seen.buffers or key in seen.writes
            if key not in weights and known:
                yield key, None
        for op in inside:
            if (key, op) not in done:
                done.add((key, op))
                todo.extend((read, op) for read in seen.reads[op])


def _tail(seen: Trace, call: ModuleCall) -> tuple[nn.Module, ...] | str:
    """The modules behind a block's last layer, or why what lies there would be lost."""
    inner = [call, *seen.inside(call)]
    last = max((c for c in inner if isinstance(c.module, LAYERS)), key=lambda c: c.order, default=None)
    if last is None or not isinstance(last.output, Tensor):
        return "does not call a layer of its own"
    behind = [c for c in inner if c.order > last.last]
    reached, tail, covered = last.output, [], set(range(last.start, last.end))
    taken = last.last
    for step in behind:
        if step.order <= taken:
            continue
        learns = any(True for _ in step.module.parameters())
        if not learns and len(step.args) == 1 and step.args[0] is reached and isinstance(step.output, Tensor):
            reached = step.output
            tail.append(step.module)
            taken = step.last
            covered |= set(range(step.start, step.end))
    late = [op for op in seen.writes.get(storage(reached), ()) if last.end <= op < call.end and op not in covered]
    if storage(reached) == storage(call.output) and not late:
        return (
            tuple(tail) if reached.shape == call.output.shape else "gives its scores in another shape than its layer's"
        )
    if seen.depends_on_alone(call.output, call.end, last) or _changed_by_hand(seen, call):
        return f"ends in a function of what {last.name or 'its last layer'} gives, which would be lost"
    return ()


def _changed_by_hand(seen: Trace, call: ModuleCall) -> bool:
    """Whether a block, behind its last layers, computes an activation or scales by a tensor of its own."""
    inside = [c for c in seen.inside(call) if any(True for _ in c.module.parameters())]
    own = {storage(value) for value in (*call.module.parameters(), *call.module.buffers())}
    todo, done = [(storage(call.output), call.end)], set()
    while todo:
        key, time = todo.pop()
        for op in (op for op in seen.writes.get(key, ()) if call.start <= op < time and (key, op) not in done):
            done.add((key, op))
            if any(c.start <= op < c.end for c in inside):
                continue  # a layer gave this
            if seen.operations[op].removeprefix("aten::").strip("_") in ACTIVATIONS or own & {*seen.reads[op]}:
                return True
            todo.extend((read, op) for read in seen.reads[op])
    return False


def learns_last(seen: Trace, call: ModuleCall) -> bool:
    """Whether the last module with parameters in a call is a layer; a normalisation there gives features, not scores."""
    inside = [call, *seen.inside(call)]
    layers = [c for c in inside if isinstance(c.module, LAYERS)]
    # What runs inside a layer, such as a parametrisation of its weight, is part of it.
    calls = [
        c for c in inside if any(True for _ in _learners(c.module)) and not any(layer.holds(c) for layer in layers)
    ]
    whole = [c for c in calls if isinstance(c.module, LAYERS) or not any(c.holds(other) for other in calls)]
    return bool(whole) and isinstance(max(whole, key=lambda c: c.order).module, LAYERS)


def layers_of(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """The linear layers and convolutions of a model with their names, in the order of its tree."""
    return [(name, layer) for name, layer in module.named_modules() if isinstance(layer, LAYERS)]
