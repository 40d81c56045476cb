"""A record of one forward pass: which module was called with what, and which tensor was computed from which.

Seeing the computation itself tells what comparing tensors cannot: that a softmax lies between a classifier and the output, that
a returned embedding is only an input of the classifier, that something else is added to the scores.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


@dataclass
class ModuleCall:
    """One call of a module, during which the operations ``start`` to ``end`` (exclusive) ran.

    ``order`` is its place among all calls, ``last`` the place of the last call inside it.
    """

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    order: int
    start: int
    last: int = -1
    end: int = -1
    output: Any = None

    def holds(self, other: "ModuleCall") -> bool:
        """Whether the other call was made inside this one."""
        return self.order < other.order <= self.last


@dataclass
class Trace:
    """What :func:`trace` saw. A tensor is known by its storage, so that a view stands for what it is a view of."""

    model: nn.Module
    calls: list[ModuleCall] = field(default_factory=list)
    operations: list[str] = field(default_factory=list)
    reads: list[tuple[int, ...]] = field(default_factory=list)
    writes: dict[int, list[int]] = field(default_factory=dict)
    inputs: set[int] = field(default_factory=set)
    parameters: set[int] = field(default_factory=set)
    weights: set[int] = field(default_factory=set)
    buffers: set[int] = field(default_factory=set)
    output: Any = None
    kept: list[Tensor] = field(default_factory=list)

    def origins(self, tensor: Tensor, at: int, opaque: ModuleCall | None = None) -> Iterator[tuple[int, int | None]]:
        """Walks backward from a tensor as it was before operation ``at``.

        Args:
            tensor: where to start.
            at: the number of an operation.
            opaque: a call whose operations are not followed any further.

        Yields:
            Pairs of a storage and the operation that wrote it, None for what was there before the pass.
        """
        todo, seen = [(storage(tensor), at)], set()
        before = self.inputs | self.parameters | self.buffers
        while todo:
            key, time = todo.pop()
            writers: list[int | None] = [op for op in self.writes.get(key, ()) if op < time]
            if not writers or key in before:
                writers.append(None)
            for op in writers:
                if (key, op) in seen:
                    continue
                seen.add((key, op))
                yield key, op
                if op is not None and not (opaque is not None and opaque.start <= op < opaque.end):
                    todo.extend((read, op) for read in self.reads[op])

    def depends_on_alone(self, tensor: Tensor, at: int, call: ModuleCall) -> bool:
        """Whether a tensor is computed from the output of a call and from constants, and from nothing else."""
        source, reached = storage(call.output), False
        for key, op in self.origins(tensor, at, call):
            if op is None:
                if key in self.inputs or key in self.parameters or key in self.buffers:
                    return False
            elif call.start <= op < call.end:
                if key != source:
                    return False
                reached = True
        return reached

    def is_encoded(self, tensor: Tensor, at: int) -> bool:
        """Whether a layer of the model computed a tensor, and not a normalisation, a scale or an embedding alone."""
        return any(op is None and key in self.weights for key, op in self.origins(tensor, at))

    def inside(self, call: ModuleCall) -> list[ModuleCall]:
        """The calls made inside a call, in their order."""
        return [other for other in self.calls if call.holds(other)]


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, into: Trace) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.into = into

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        read = {storage(value) for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)}
        output = func(*args, **kwargs)
        trace, number = self.into, len(self.into.operations)
        written = {storage(value) for value in tensors(output)} - read  # a view is no new content
        for i, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                value = args[i] if i < len(args) else kwargs.get(argument.name)
                written |= {storage(value) for value in tensors(value)}
        trace.operations.append(func._schema.name)
        trace.reads.append(tuple(read))
        for key in written:
            trace.writes.setdefault(key, []).append(number)
        trace.kept.extend(tensors(output))  # so that no storage's address is used again
        return output


def trace(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Trace:
    """Runs a model as it stands and records the pass.

    Args:
        model: is run in its current mode, see :func:`~dsnet_plugin.wrapping.dry_run.untouched`.
        args: its positional arguments.
        kwargs: its keyword arguments.
    """
    seen = Trace(model)
    seen.inputs = {storage(value) for value in tensors((args, dict(kwargs)))}
    seen.parameters = {storage(value) for value in model.parameters()}
    seen.weights = {storage(value) for value in weights_of(model)}
    seen.buffers = {storage(value) for value in model.buffers()}
    handles: list[Any] = []
    opened: list[ModuleCall] = []

    def open_call(name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        opened.append(ModuleCall(name, module, args, kwargs, len(seen.calls), len(seen.operations)))
        seen.calls.append(opened[-1])

    def close_call(module: nn.Module, output: Any) -> None:
        while opened:
            call = opened.pop()
            if call.module is module:
                call.last, call.end, call.output = len(seen.calls) - 1, len(seen.operations), output
                return

    try:
        for name, module in model.named_modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue  # takes no hooks; what it computes is recorded all the same, as its caller's own
            handles.append(
                module.register_forward_pre_hook(
                    lambda module, args, kwargs, name=name: open_call(name, module, args, kwargs), with_kwargs=True
                )
            )
            handles.append(module.register_forward_hook(lambda module, _args, output: close_call(module, output)))
        with _Recorder(seen):
            seen.output = model(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def weights_of(model: nn.Module) -> Iterator[Tensor]:
    """The matrices and kernels of a model, of which an encoder has some: no scale, bias, statistic or embedding."""
    for module in model.modules():
        if not isinstance(module, nn.Embedding | nn.EmbeddingBag):
            yield from (value for value in module.parameters(recurse=False) if value.dim() > 1)


def storage(tensor: Tensor) -> int:
    """A number that two tensors share exactly if they share their content."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (RuntimeError, NotImplementedError):  # a sparse or nested tensor
        return id(tensor)


def tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in a model's output or input, whatever holds them."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for entry in fields(value):
            yield from tensors(getattr(value, entry.name))
