"""The search for a classifier among the calls of one forward pass, and in a module tree that has not run yet."""

from dataclasses import dataclass

from torch import Tensor, nn

from dsnet_plugin.errors import HeadNotFoundError
from dsnet_plugin.wrapping.blocks import Block, examine, is_block, layers_of, learns_last, run_alone
from dsnet_plugin.wrapping.trace import ModuleCall, Trace, tensors, weights_of


@dataclass(frozen=True)
class Place:
    """A block in a model by its name, and the other blocks that a head could have replaced."""

    name: str
    block: Block
    alternatives: tuple[str, ...] = ()


@dataclass
class _Output:
    """One of a model's outputs: the calls that give it, the outermost first, and why a head cannot stand in for some."""

    calls: list[ModuleCall]
    places: list[tuple[ModuleCall, Block]]
    refused: dict[str, str]

    def chosen(self, seen: Trace) -> tuple[ModuleCall, Block]:
        """The outermost block that leaves the model an encoder in front of it; without one, the innermost."""
        encoded = [place for place in self.places if seen.is_encoded(place[0].args[0], place[0].start)]
        return (encoded or self.places[-1:])[0]


def in_trace(seen: Trace, num_classes: int | None, standing: tuple[nn.Module, Block] | None = None) -> Place:
    """The block whose output is what the model returns, as one forward pass shows it.

    Args:
        seen: the pass.
        num_classes: the number of classes that tells which of several blocks is wanted.
        standing: a module that stands in a classifier's place already, and the block that was there.

    Raises:
        HeadNotFoundError: none or several, with what was seen.
    """
    outputs = _outputs(seen, standing)
    usable = [output for output in outputs if output.places]
    final = [output for output in usable if not any(_feeds(seen, output, other) for other in usable)]
    matching = [output for output in usable if output.chosen(seen)[1].num_classes == num_classes]
    wanted = [output for output in final if output in matching] or ([] if matching else final)
    refused = {name: why for output in outputs for name, why in output.refused.items()}
    if len(wanted) != 1 or (len(outputs) > len(usable) and not matching):
        names = [output.chosen(seen)[0].name for output in usable]
        parts = [f"{', '.join(names)} give its outputs"] if names else []
        parts += [f"{name} {why}" for name, why in refused.items()]
        said = "; ".join(parts) or "no linear layer's output is an output of it"
        raise HeadNotFoundError(
            f"cannot tell the classifier of {type(seen.model).__name__} from a forward pass: {said}; give its name with "
            f"head={candidates(seen.model)}"
        )
    call, block = wanted[0].chosen(seen)
    return Place(call.name, block, listed([(c.name, b) for o in usable for c, b in o.places if c is not call]))


def as_named(seen: Trace, name: str) -> None:
    """Checks that a block called by its name is one in a forward pass.

    Raises:
        HeadNotFoundError: it is not called, more than once, or no head can stand in for it.
    """
    module = seen.model.get_submodule(name)
    calls = [call for call in seen.calls if call.module is module]
    problem = (
        examine(seen, calls[0]) if len(calls) == 1 else f"is called {len(calls)} times in a forward pass, not once"
    )
    if isinstance(problem, str):
        raise HeadNotFoundError(f"no head can stand in for {name}, which {problem}{candidates(seen.model)}")


def _outputs(seen: Trace, standing: tuple[nn.Module, Block] | None) -> list[_Output]:
    """The model's outputs that are computed from one block's output and from nothing else."""
    results = [value for value in tensors(seen.output) if value.is_floating_point() and value.dim()]
    here, what_was = standing or (None, None)
    hidden = set(here.modules()) - {here} if here is not None else set()
    outputs: list[_Output] = []
    for call in seen.calls[1:]:
        if call.module in hidden or not isinstance(call.output, Tensor) or not is_block(call.module):
            continue
        if not any(seen.depends_on_alone(result, len(seen.operations), call) for result in results):
            continue
        if not learns_last(seen, call):
            continue  # features, such as a normalisation gives, and no logits
        outer = next((output for output in outputs if any(c.holds(call) for c in output.calls)), None)
        if outer is None:
            outer = _Output([], [], {})
            outputs.append(outer)
        outer.calls.append(call)
        block = what_was if what_was is not None and call.module is here else examine(seen, call)
        if sum(other.module is call.module for other in seen.calls) > 1:
            block = "is called more than once in a forward pass"
        elif isinstance(block, Block) and not any(
            result.numel() == call.output.numel() and len(result) == len(call.output) for result in results
        ):
            block = f"gives {tuple(call.output.shape)}, of which the model returns a part or a mean"
        if isinstance(block, Block) and call.module is not here and isinstance(alone := run_alone(call.module), str):
            block = alone  # it takes one row only as this model calls it, such as a map of one pixel
        if isinstance(block, Block):
            outer.places.append((call, block))
        else:
            outer.refused[call.name] = block
    return outputs


def _feeds(seen: Trace, output: _Output, other: _Output) -> bool:
    """Whether an output is only the features that another output's block takes, as a returned embedding is."""
    if output is other:
        return False
    source = output.calls[0]
    return any(seen.depends_on_alone(call.args[0], call.start, source) for call, _ in other.places)


def in_tree(model: nn.Module, num_classes: int) -> Place:
    """The block that a module tree shows to be the classifier; the first forward pass is to confirm it.

    It is the one block whose last layer has ``num_classes`` outputs; where no layer has so many, the last one of the tree.

    Raises:
        HeadNotFoundError: several, or nothing at the end, with the candidates.
    """
    layers = [(name, layer) for name, layer in layers_of(model) if name]
    fitting = [name for name, layer in layers if _outputs_of(layer) == num_classes]
    learners = [name for name, part in model.named_modules() if any(True for _ in part.parameters(recurse=False))]
    if not fitting and layers and learners[-1:] == [layers[-1][0]]:
        fitting = [layers[-1][0]]
    if len(fitting) != 1:
        several = f"{', '.join(fitting)} have {num_classes} outputs" if fitting else "no linear layer is at its end"
        raise HeadNotFoundError(
            f"cannot tell the classifier of {type(model).__name__} from its modules: {several}; give its name with head=, "
            f"or one input with example={candidates(model)}"
        )
    places = nested(model, fitting[0])
    if not places:
        raise HeadNotFoundError(
            f"cannot tell the classifier of {type(model).__name__} from its modules: no head can stand in for {fitting[0]}; "
            f"give its name with head=, or one input with example={candidates(model)}"
        )
    (name, block), *others = places
    return Place(name, block, listed(others))


def nested(model: nn.Module, layer: str) -> list[tuple[str, Block]]:
    """The blocks that end in a layer, the outermost first and the layer itself last; no block that holds all weights."""
    parts = layer.split(".")
    names = [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    everything = {id(weight) for weight in weights_of(model)}
    places: list[tuple[str, Block]] = []
    for name in names:
        module = model.get_submodule(name)
        whole = everything <= {id(weight) for weight in weights_of(module)}
        if is_block(module) and (name == layer or not whole) and isinstance(block := run_alone(module), Block):
            last = layers_of(module)[-1][1]
            places += [(name, block)] if last is model.get_submodule(layer) else []
    return places


def listed(places: list[tuple[str, Block]]) -> tuple[str, ...]:
    """Describes places for a person to read."""
    return tuple(f"{name} ({block.in_features} features)" for name, block in places)


def _outputs_of(layer: nn.Module) -> int:
    return int(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)  # type: ignore[arg-type]


def candidates(model: nn.Module, shown: int = 5) -> str:
    """The last linear layers in the order of the module tree, for a message."""
    lines = [
        f"{name} ({layer.in_features} to {layer.out_features})"
        for name, layer in layers_of(model)
        if isinstance(layer, nn.Linear)
    ]
    return f"; candidates: {', '.join(lines[-shown:])}" if lines else "; it has no linear layer"
