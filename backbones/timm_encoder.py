"""Any timm model as an encoder of log-mel features."""

from difflib import get_close_matches
from importlib import import_module
from typing import Any, Literal

import torch
from torch import Tensor, nn

from backbones.frontend import NUM_MEL_BINS
from dsnet_plugin.config import check_choice
from dsnet_plugin.errors import ConfigError, DSNetError, ShapeError
from dsnet_plugin.modes import eval_mode

MIN_FRAMES = 32
"""The fewest frames of an input. So many and an odd number are tried when a model is made, to see whether it takes any size."""

_TRIED_FRAMES = (MIN_FRAMES, 101)


class TimmEncoder(nn.Module):
    """A timm model without its classifier: log-mel "images" in, pooled features before the classifier out.

    A model that takes any size (a convolutional network) sees the input as it is. A vision transformer of a fixed
    size gets ``dynamic_img_size`` and ``dynamic_img_pad`` where it offers them, which resample its position embedding
    and fill the last patches; all others (Swin, mixers, LeViT) see the input resized, bilinearly, to their own size,
    which is ``img_size`` if that is given. ``input_size`` is that size, or None. What a model takes is not looked up
    but tried, when it is made.

    A batch norm over the mel bins comes first, as in the paper's encoder: log-mel values are around 5 to 20 and their
    deltas around 0, where timm's models expect zero mean and unit variance. With ``freeze="all"``, where no statistics are
    learned, each utterance's own mean and variance in each of the three channels take its place.

    Args:
        name: a name that ``timm.list_models()`` knows, with or without a tag of its weights.
        pretrained: load timm's weights, which needs the network or its cache.
        freeze: ``"all"`` keeps the model as it is, in eval mode; ``"none"`` trains it.
        options: passed to ``timm.create_model``, such as ``drop_path_rate``, or ``checkpoint_path`` with a safetensors file.

    Shape:
        (N, 3, T, 80), T at least 32, to (N, ``num_features``); the width is measured.

    Raises:
        ConfigError: an unknown name or tag, options that the model does not take, or features that are not (N, D).
        DSNetError: timm is not installed.
        ShapeError: when called on another shape.
    """

    input_kind = "lmfb"

    def __init__(
        self, name: str, pretrained: bool = False, freeze: Literal["none", "all"] = "none", **options: Any
    ) -> None:
        super().__init__()
        check_choice("freeze", freeze, Literal["none", "all"])
        if not str(options.get("checkpoint_path", ".safetensors")).endswith(".safetensors"):
            raise ConfigError(
                f"checkpoint_path={options['checkpoint_path']!r}: expected a .safetensors file, never pickle"
            )
        timm = _timm()
        if not timm.is_model(name):
            near = get_close_matches(name, timm.list_models(), n=3)
            hint = f"did you mean {', '.join(near)}?" if near else "timm.list_models() has the names"
            raise ConfigError(f"timm {timm.__version__} knows no model {name!r}; {hint}")
        self.mel_norm = nn.InstanceNorm2d(3) if freeze == "all" else nn.BatchNorm2d(NUM_MEL_BINS)
        self.model = _create(timm, name, {"pretrained": pretrained, "num_classes": 0, **options})
        self.recipe = {"name": name, **options}
        self.freeze = freeze
        if freeze == "all":
            self.requires_grad_(False).eval()
        self.input_size: tuple[int, int] | None = None
        if not self._takes_any_size():
            self.input_size = _own_size(self.model, options.get("img_size"))
        shape = self._try(MIN_FRAMES)
        if len(shape) != 2:
            raise ConfigError(f"timm/{name} gives features of shape {shape}; expected (N, D): leave its pooling on")
        self.num_features = shape[1]

    def train(self, mode: bool = True) -> "TimmEncoder":
        """Sets the mode; a frozen model stays in eval mode."""
        return super().train(mode and self.freeze != "all")

    def forward(self, inputs: Tensor) -> Tensor:
        """Log-mel features with deltas (N, 3, T, 80) to h (N, D)."""
        if inputs.dim() != 4 or inputs.shape[1] != 3 or inputs.shape[3] != NUM_MEL_BINS:
            raise ShapeError(f"inputs have shape {tuple(inputs.shape)}; expected (N, 3, T, {NUM_MEL_BINS})")
        if inputs.shape[2] < MIN_FRAMES:
            raise ShapeError(
                f"{inputs.shape[2]} frames; a timm encoder needs at least {MIN_FRAMES}: raise max_frames, to which "
                "fit_frames repeats an utterance"
            )
        if self.freeze == "all":
            x = self.mel_norm(inputs)
        else:
            # BatchNorm2d pools over all but its second dimension, hence bins there: (N, 80, 3, T) and back.
            x = self.mel_norm(inputs.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        if self.input_size is not None:
            x = nn.functional.interpolate(x, self.input_size, mode="bilinear", align_corners=False)
        h: Tensor = self.model(x.contiguous())
        return h

    def _try(self, frames: int) -> tuple[int, ...]:
        """The shape of the features of one input of zeros; leaves mode and statistics as they were."""
        with eval_mode(self), torch.no_grad():
            return tuple(self(torch.zeros(1, 3, frames, NUM_MEL_BINS)).shape)

    def _takes_any_size(self) -> bool:
        try:
            for frames in _TRIED_FRAMES:
                self._try(frames)
        except (AssertionError, RuntimeError, ValueError):  # what timm and torch raise on a size that does not fit
            return False
        return True


def _timm() -> Any:
    """Timm, which is an extra: this package imports without it."""
    try:
        return import_module("timm")
    except ModuleNotFoundError as error:
        raise DSNetError("a timm encoder needs timm: pip install 'dsnet_plugin[timm]'") from error


def _create(timm: Any, name: str, options: dict[str, Any]) -> Any:
    """Makes the model, with a dynamic input size where its size is fixed and it offers one."""
    try:
        fixed = getattr(timm.get_pretrained_cfg(name), "fixed_input_size", False)
    except RuntimeError as error:  # an unknown tag
        raise ConfigError(f"timm/{name}: {error} timm.list_pretrained() has the tags") from error
    if fixed and "img_size" not in options:
        try:
            return timm.create_model(name, dynamic_img_size=True, dynamic_img_pad=True, **options)
        except TypeError:
            pass  # it has no such options
    try:
        return timm.create_model(name, **options)
    except (TypeError, ValueError, AssertionError) as error:
        raise ConfigError(f"timm/{name} does not take these options: {error}") from error


def _own_size(model: Any, img_size: Any) -> tuple[int, int]:
    """Height and width of a model's input, as asked for or as its weights have it."""
    if isinstance(img_size, int):
        return (img_size, img_size)
    height, width = img_size or model.pretrained_cfg["input_size"][-2:]
    return (height, width)
