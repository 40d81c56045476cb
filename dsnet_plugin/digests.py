"""Digests of tensors, a few characters each; they tell which weights training changed, and whether a base is the right one.

A digest depends on the values and the dtype, not on the device or the layout. One gigabyte takes less than a second.
"""

import ctypes
import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from dsnet_plugin.distributed import whole

NARROWER = (torch.float16, torch.bfloat16)


def digest(tensor: Tensor) -> str | None:
    """The SHA-256 of a tensor's bytes, 16 hexadecimal digits; None for one without content (on the meta device)."""
    if tensor.is_meta:
        return None
    content = whole(tensor.detach()).cpu().contiguous()
    try:
        address = content.data_ptr()
    except RuntimeError:  # a subclass of Tensor that holds its content elsewhere
        return None
    size = content.numel() * content.element_size()
    if size and not address:
        return None
    return hashlib.sha256((ctypes.c_char * size).from_address(address) if size else b"").hexdigest()[:16]


def digests(named: Iterable[tuple[str, Tensor]]) -> dict[str, str | None]:
    """The digest of each tensor by its name; one that stands under several names is read once."""
    by_tensor: dict[int, str | None] = {}
    by_name = {}
    for name, tensor in named:
        if id(tensor) not in by_tensor:
            by_tensor[id(tensor)] = digest(tensor)
        by_name[name] = by_tensor[id(tensor)]
    return by_name


def digests_without(module: nn.Module, part: nn.Module) -> dict[str, str | None]:
    """The digests of a module's parameters, under each of their names, without those of ``part``."""
    left_out = {id(parameter) for parameter in part.parameters()}
    named = module.named_parameters(remove_duplicate=False)
    return digests((name, parameter) for name, parameter in named if id(parameter) not in left_out)


def precisions(tensor: Tensor) -> dict[str, str | None]:
    """The digests of a tensor in its own dtype and in the narrower ones in which a model may be loaded again."""
    dtypes = [tensor.dtype]
    if tensor.dtype in (torch.float32, torch.float64):
        dtypes += NARROWER
    return {str(dtype).removeprefix("torch."): digest(tensor.detach().to(dtype)) for dtype in dtypes}


def agrees(tensor: Tensor, recorded: Mapping[str, str | None]) -> bool:
    """Whether a tensor holds what :func:`precisions` recorded of another, as far as its dtype can tell."""
    dtype_name = str(tensor.dtype).removeprefix("torch.")
    # A tensor in a wider dtype than all recorded ones is narrowed to the first, which the recorded tensor had.
    dtype = dtype_name if dtype_name in recorded else next(iter(recorded))
    return digest(tensor.detach().to(getattr(torch, dtype))) == recorded[dtype]
