"""The inner stages of an encoder, for methods that read from within it or act there."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from backbones.cnn import CNNEncoder
from backbones.frontend import NUM_MEL_BINS
from backbones.hf_encoder import HFEncoder
from backbones.timm_encoder import MIN_FRAMES, TimmEncoder
from dsnet_plugin.modes import eval_mode

MAX_STAGES = 4
"""The most stages of an encoder: as many as the paper's has blocks."""

T = TypeVar("T")


class Stage(NamedTuple):
    """An inner block of an encoder.

    ``module`` gives a tensor, or a tuple that begins with one (see :func:`stage_output`), with the N rows first and
    ``channels`` at dimension ``dim``, 1 or -1. The encoder calls it once a forward pass, except where an
    :class:`HFEncoder` sees the utterances of one length at a time; then ``encoder.rows`` has the rows of each call.
    """

    module: nn.Module
    """The block."""

    channels: int
    """The number of its channels."""

    dim: int
    """The dimension of its output that they are in, 1 or -1."""


def stages(encoder: Any) -> list[Stage]:
    """The inner stages of an encoder from input to output, at most four; an empty list where none are known.

    A :class:`CNNEncoder` has its four blocks; a :class:`TimmEncoder` the last four stages that timm's ``feature_info``
    names, or, where its resolution is one throughout (vision transformers, mixers), four evenly spaced blocks; an
    :class:`HFEncoder` four evenly spaced transformer layers. In which dimension a timm model has its channels is tried.
    """
    if isinstance(encoder, CNNEncoder):
        return [Stage(block, block[0].out_channels, 1) for block in encoder.blocks.children()]  # type: ignore[index]
    if isinstance(encoder, TimmEncoder):
        return _timm_stages(encoder)
    if isinstance(encoder, HFEncoder):
        return [Stage(layer, encoder.num_features, -1) for layer in _evenly(_transformer_layers(encoder.model))]
    return []


def stage_output(output: Any) -> Tensor:
    """The tensor of what a stage's module returns."""
    tensor: Tensor = output if isinstance(output, Tensor) else output[0]
    return tensor


class StageReader:
    """Runs an encoder and reads the mean output of each of its stages.

    Its hooks stay on the encoder, change nothing and hold nothing outside of a call: a compiled encoder does not see hooks
    that come and go. A copy (``deepcopy``) of what holds both reads from the copied encoder.

    Args:
        encoder: any encoder; ``stages`` is what :func:`stages` knows of it.
    """

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder
        self.stages = stages(encoder)
        self._outputs: list[list[tuple[Tensor, Tensor | None]]] | None = None
        for place, stage in enumerate(self.stages):
            stage.module.register_forward_hook(partial(self._keep, place))

    def __call__(self, inputs: Any) -> tuple[Tensor, list[Tensor]]:
        """Turns inputs of N rows into h (N, D) and, for each stage, its output's mean over all but rows and channels, (N, C).

        The means are float32, and differentiable. Frames of padding count like others.
        """
        self._outputs = [[] for _ in self.stages]
        try:
            h: Tensor = self.encoder(inputs)
            # The means are taken here and not in the hooks, which may run in a checkpointed layer and its repetition.
            return h, [_mean(stage, outputs) for stage, outputs in zip(self.stages, self._outputs, strict=True)]
        finally:
            self._outputs = None

    def _keep(self, place: int, module: nn.Module, inputs: Any, output: Any) -> None:
        if self._outputs is not None:
            self._outputs[place].append((stage_output(output), getattr(self.encoder, "rows", None)))


def _mean(stage: Stage, outputs: list[tuple[Tensor, Tensor | None]]) -> Tensor:
    """The mean output of a stage in one or several calls, in the order of the batch."""
    means = torch.cat([_channel_mean(stage, x) for x, _ in outputs])
    order = [rows for _, rows in outputs if rows is not None]
    return means[torch.cat(order).argsort()] if order else means


def _channel_mean(stage: Stage, x: Tensor) -> Tensor:
    others = [dim for dim in range(1, x.dim()) if dim != stage.dim % x.dim()]
    return x.mean(others, dtype=torch.float32)


def _timm_stages(encoder: TimmEncoder) -> list[Stage]:
    known = list(getattr(encoder.model, "feature_info", None) or [])
    one_resolution = len({entry["reduction"] for entry in known}) == 1
    known = _evenly(known) if one_resolution else known[-MAX_STAGES:]
    named = dict(encoder.model.named_modules())
    chosen = [(named[entry["module"]], entry["num_chs"]) for entry in known if entry["module"] in named]
    shapes = _shapes(encoder, [module for module, _ in chosen])
    rows_last = getattr(encoder.model, "output_fmt", None) == "NHWC"
    timm_stages = []
    for module, channels in chosen:
        shape = shapes.get(module, ())
        # An image has its channels before its height, tokens have them last; the rest is for models that do otherwise.
        dims = (1, -1) if len(shape) == 4 and not rows_last else (-1, 1)
        dim = next((dim for dim in dims if len(shape) > 2 and shape[dim] == channels), None)
        if dim is not None:
            timm_stages.append(Stage(module, channels, dim))
    return timm_stages


def _shapes(encoder: nn.Module, modules: Sequence[nn.Module]) -> dict[nn.Module, tuple[int, ...]]:
    """The shape of what each module gives for one input of zeros, of those that are called."""
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        shapes[module] = tuple(stage_output(output).shape)

    hooks = [module.register_forward_hook(keep) for module in modules]
    try:
        with eval_mode(encoder), torch.no_grad():
            device = next(encoder.parameters()).device
            encoder(torch.zeros(1, 3, MIN_FRAMES, NUM_MEL_BINS, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return shapes


def _transformer_layers(model: Any) -> list[nn.Module]:
    """The layers of a speech model of transformers; AST's stood in ``encoder.layer`` before transformers 5."""
    for path in ("encoder.layers", "layers", "encoder.layer"):
        try:
            return list(model.get_submodule(path).children())
        except AttributeError:
            pass
    return []


def _evenly(blocks: Sequence[T]) -> list[T]:
    """Four evenly spaced blocks with the last one among them; all where there are fewer."""
    number = min(MAX_STAGES, len(blocks))
    return [blocks[(i + 1) * len(blocks) // number - 1] for i in range(number)]
