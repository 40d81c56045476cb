"""Putting a head in the place of a classifier, in a model that stays as it was if anything does not fit."""

from torch import nn

from dsnet_plugin.errors import ShapeError, WrapError
from dsnet_plugin.head import DisentangleHead
from dsnet_plugin.location import Location, block_at
from dsnet_plugin.slot import HeadBehind, HeadSlot
from dsnet_plugin.wrapping.blocks import Block
from dsnet_plugin.wrapping.replace import put


def place(
    model: nn.Module, head: DisentangleHead, location: Location
) -> tuple[nn.Module, HeadSlot, dict[str, nn.Module]]:
    """Puts a head in a classifier's place.

    Args:
        model: gets the head, in place.
        head: as wide as the features at that place.
        location: the place.

    Returns:
        The model, inside a ``HeadBehind`` if the head stands behind it; the slot in the classifier's place; and the
        modules that stood there, by their names.

    Raises:
        HeadNotFoundError: no such place in this model.
        ShapeError: the head has another width than the features.
        WrapError: what stands in the place has a forward hook, which would be lost.
    """
    if head.in_features != location.in_features:
        raise ShapeError(
            f"the head takes {head.in_features} features and {location.name} is given {location.in_features}; "
            f"expected DisentangleHead(in_features={location.in_features}, ...)"
        )
    # A place of another model is refused before anything is touched. The features of several classifiers may be joined.
    blocks = [block_at(model, name) for name in location.names]
    widths = [block.in_features for block in blocks]
    if {*widths} != {head.in_features} and not (location.behind and sum(widths) == head.in_features):
        raise ShapeError(
            f"the head takes {head.in_features} features and {location.name} of this {type(model).__name__} is given "
            f"{' and '.join(map(str, widths))}"
        )
    replaced = {name: model.get_submodule(name) for name in location.names}
    if hooked := [name for name, module in replaced.items() if module._forward_hooks]:
        raise WrapError(
            f"{', '.join(hooked)} has a forward hook, which would be lost with it: take the hook away, and put it on the "
            "wrapped model if it is still wanted"
        )
    numbers = [p for module in (*replaced.values(), model) for p in module.parameters() if p.is_floating_point()]
    head = head.to(numbers[0].device, numbers[0].dtype) if numbers else head
    block = Block(head.in_features, head.num_classes, channels_first=True) if location.behind else blocks[0]
    slot = HeadSlot(head.train(model.training), block).train(model.training)
    if location.behind:
        for module in replaced.values():
            put(model, module, nn.Identity())
        model = HeadBehind(model, slot).train(model.training)
    else:
        put(model, replaced[location.names[0]], slot)
    return model, slot, replaced


def bare(model: nn.Module) -> nn.Module:
    """The user's model, also where a head stands behind it."""
    return model.backbone if isinstance(model, HeadBehind) else model
