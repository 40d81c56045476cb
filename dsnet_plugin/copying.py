"""A copy of a model in mid-training: without the graph of the last step, and whole where the model is sharded (FSDP2)."""

import copy
from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

from dsnet_plugin.distributed import whole
from dsnet_plugin.wrapping.trace import tensors

Model = TypeVar("Model", bound=nn.Module)


def copy_of(model: Model) -> Model:
    """A deep copy that shares nothing with the model, which stays as it is.

    Tensors that modules keep from the last forward pass (old ``weight_norm``, cached attention biases) are copied by value:
    torch copies no part of a graph. A model sharded by ``fully_shard`` becomes a plain one, and every rank must then call.
    """
    memo: dict[int, Any] = {}
    sharded = [module for module in model.modules() if hasattr(module, "_get_fsdp_state")]
    for module in sharded:
        module.reshard()  # type: ignore[operator]
        plain: Any = type(module).__mro__[2]  # FSDP's class of a module derives from FSDP's own and from the module's
        memo[id(module)] = plain.__new__(plain)
    memo |= by_value(model)
    for module in sharded:
        memo[id(module)].__dict__.update(copy.deepcopy(_without_fsdp(vars(module)), memo))
    return copy.deepcopy(model, memo)


def by_value(model: nn.Module) -> dict[int, Any]:
    """Copies of the tensors that ``deepcopy`` refuses, by the ``id`` of the original, as a memo for ``deepcopy``."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        for tensor in tensors(vars(module)):
            if isinstance(tensor, nn.Parameter) and tensor.is_leaf and hasattr(tensor, "full_tensor"):
                memo[id(tensor)] = nn.Parameter(whole(tensor.detach()).clone(), tensor.requires_grad)
            elif not tensor.is_leaf:
                memo[id(tensor)] = whole(tensor.detach()).clone()
    return memo


def _without_fsdp(state: Mapping[str, object]) -> dict[str, object]:
    """A module's attributes without those that ``fully_shard`` added, and without its hooks."""
    kept: dict[str, object] = {}
    for name, value in state.items():
        if name.startswith(("__composable_api", "_is_fsdp", "_fsdp")):
            continue
        if name.endswith("_hooks") and isinstance(value, Mapping):
            hooks: Any = type(value)
            kept[name] = hooks((key, hook) for key, hook in value.items() if not _of_fsdp(hook))
        else:
            kept[name] = value
    return kept


def _of_fsdp(hook: Any) -> bool:
    return str(getattr(getattr(hook, "hook", hook), "__module__", "")).startswith("torch.distributed")
