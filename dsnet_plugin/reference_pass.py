"""The pass over neutral references, after which the model is what it was.

Batch norm keeps running averages of what passes through it in training and uses them in evaluation. A handful of neutral
references that passes through as well would make up half of each average, though no utterance to be judged is like them.
So the neutral pass uses the running statistics and updates none, and whatever other buffers a model updates in training
(spectral norm's vectors, codebooks) are put back.
"""

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd import Variable
from torch.nn.modules.batchnorm import _NormBase

Undo = Callable[[], None]

_left_open: WeakKeyDictionary[nn.Module, Undo] = WeakKeyDictionary()
"""For each model whose backward pass failed, the function that puts its state back."""


def neutral_pass(model: nn.Module, encode: Callable[[], Tensor]) -> Tensor:
    """Encodes neutral references so that no buffer of the model changes; gradients flow as in any other pass.

    Normalisation layers with running statistics (batch norm, synchronised batch norm) use them, as in evaluation, and do
    not update them: references are few, K = 1 among them, and normalised by one another they would lose what they share.
    Dropout and all else stay in the mode that they have. The call comes **before** the pass over the labelled utterances:
    then layers that are computed again in the backward pass (activation checkpointing) are treated alike there.

    Args:
        model: what ``encode`` runs, in whatever mode.
        encode: computes the features of the references, shape (K, D).

    Returns:
        What ``encode`` returns.

    Example:
        >>> encoder = nn.Sequential(nn.Linear(20, 16), nn.BatchNorm1d(16))
        >>> x, x_neutral = torch.randn(8, 20), torch.randn(1, 20)
        >>> h_n = neutral_pass(encoder, lambda: encoder(x_neutral))
        >>> int(encoder[1].num_batches_tracked)
        0
    """
    if torch.compiler.is_compiling():
        undo = _State(model).protect()
        h_n = encode()
        undo()
        return h_n
    _close(model)
    state = _State(model)
    undo = state.protect()
    try:
        h_n = encode()
    finally:
        undo()
    _in_backward_of(h_n, model, state.protect)
    return h_n


def keep_statistics(model: nn.Module, h: Tensor) -> None:
    """Keeps what a model computes again in the backward pass of its features from updating its buffers a second time.

    Activation checkpointing runs layers twice, and torch's batch norm counts both. For the pass over labelled utterances,
    after :func:`neutral_pass`; without checkpointing nothing changes.

    Args:
        model: what computed ``h``.
        h: its features, shape (N, D).
    """
    if not torch.compiler.is_compiling():
        _in_backward_of(h, model, lambda: _State(model).protect(as_in_evaluation=False))


def _in_backward_of(h: Tensor, model: nn.Module, protect: Callable[[], Undo]) -> None:
    """Protects the model from the moment when the gradient reaches its features to the end of the backward pass."""

    # Nodes run backward in the reverse order of their making: all those of the labelled pass, which comes second, run before
    # any of the neutral pass. So the protection of the one ends where that of the other begins.
    def begin(_: Tensor) -> None:
        _close(model)
        _left_open[model] = protect()
        Variable._execution_engine.queue_callback(lambda: _close(model))

    if h.requires_grad:
        h.register_hook(begin)  # type: ignore[no-untyped-call]


def _close(model: nn.Module) -> None:
    """Puts back the state that a backward pass works on, if one is open."""
    if (undo := _left_open.pop(model, None)) is not None:
        undo()


def _normalises(module: nn.Module) -> bool:
    """Whether a module is a layer of batch norm or its like, TorchScript's own kind among them."""
    if isinstance(module, torch.jit.ScriptModule):
        return hasattr(module, "running_mean") and str(module.original_name).endswith(("Norm1d", "Norm2d", "Norm3d"))
    return isinstance(module, _NormBase)


class _State:
    """The buffers of a model's parts in training mode, as they are when this is made."""

    def __init__(self, model: nn.Module) -> None:
        self.norms: list[nn.Module] = []
        self.values: list[tuple[nn.Module, str, Tensor]] = []
        for module in model.modules():
            if module.training:
                if _normalises(module) and module.running_mean is not None:
                    self.norms.append(module)
                buffers = [(name, buffer) for name, buffer in module._buffers.items() if buffer is not None]
                self.values += [(module, name, buffer.clone()) for name, buffer in buffers]

    def protect(self, as_in_evaluation: bool = True) -> Undo:
        """Gives the model copies of these values to work on, and returns a function that puts modes and buffers back.

        Args:
            as_in_evaluation: normalisation layers use their running statistics meanwhile.
        """
        current = [(module, name, module._buffers[name]) for module, name, _ in self.values]
        norms = self.norms if as_in_evaluation else []
        for norm in norms:
            norm.training = False
        for module, name, value in self.values:
            module._buffers[name] = value.clone()

        def undo() -> None:
            for norm in norms:
                norm.training = True
            for module, name, buffer in current:
                module._buffers[name] = buffer

        return undo
