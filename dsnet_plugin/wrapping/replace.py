"""Putting one module in the place of another, wherever a model keeps it."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from dsnet_plugin.errors import WrapError

BOOKKEEPING = frozenset(vars(nn.Module()))
"""The attributes in which torch keeps what it registers."""


def put(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Puts a module in another one's place, under each of its names and in the model's own lists, tuples and dicts."""
    for module in list(model.modules()):
        if module is new:
            continue
        for name, child in module._modules.items():
            if child is old:
                module._modules[name] = new
        for name, value in _plain_attributes(module):
            if any(part is old for part in _modules(value)):
                module.__dict__[name] = _with(value, old, new)


def check_whole(model: nn.Module, name: str) -> None:
    """Refuses a block of which the model also keeps a part somewhere else, from where it may be called.

    Raises:
        WrapError: names the part and where else it is.
    """
    block = model.get_submodule(name)
    inside = {id(part) for part in block.modules()}
    parts = inside - {id(block)}
    for owner_name, owner in model.named_modules(remove_duplicate=False):
        if id(owner) in inside:
            continue
        attributes = [*owner._modules.items(), *_plain_attributes(owner)]
        for attribute, value in attributes:
            held = [value] if isinstance(value, nn.Module) else _modules(value)
            if any(id(part) in parts for part in held):
                where = f"{owner_name}.{attribute}" if owner_name else attribute
                raise WrapError(
                    f"{type(model).__name__} also keeps a part of {name} in {where} and may call it from there, where no head "
                    f"would be: name the layer that is called, or keep {name} in one place"
                )


def _plain_attributes(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """The attributes that torch does not look into."""
    for name, value in list(vars(module).items()):
        if name not in BOOKKEEPING:
            yield name, value


def _modules(value: Any, depth: int = 4) -> Iterator[nn.Module]:
    if isinstance(value, nn.Module):
        yield value
    elif depth and isinstance(value, dict):
        for item in value.values():
            yield from _modules(item, depth - 1)
    elif depth and isinstance(value, list | tuple):
        for item in value:
            yield from _modules(item, depth - 1)


def _with(value: Any, old: nn.Module, new: nn.Module) -> Any:
    """The value with the new module in it; lists and dicts stay the same objects."""
    if value is old:
        return new
    if isinstance(value, dict):
        for key, item in value.items():
            value[key] = _with(item, old, new)
    elif isinstance(value, list):
        value[:] = [_with(item, old, new) for item in value]
    elif isinstance(value, tuple):
        items = [_with(item, old, new) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return value
