"""Trained models and interrupted trainings on disk: one safetensors file each, with its JSON record inside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn, optim

from backbones import FeatureEncoder, create_encoder
from benchmarks.data import EncoderSpec
from benchmarks.errors import RunError
from benchmarks.methods import Method, create_method
from benchmarks.output.files import read_tensors, write_tensors
from benchmarks.output.run_folder import MODEL_NAME, model_file
from benchmarks.output.typed_json import from_json, to_json
from benchmarks.training.identity import CorpusIdentity, TrainingIdentity
from benchmarks.training.story import Epoch
from dsnet_plugin import CheckpointError, ConfigError
from dsnet_plugin.serialization import load_tensors

STATE_NAME = "state.safetensors"
MODEL_FORMAT = 2
STATE_FORMAT = 3
_AN_HOUR = 360_000


@dataclass(frozen=True)
class ModelRecord:
    """What :func:`load_model` needs to build a method again, and where that comes from; the last three are for readers alone."""

    method: str
    """A name of ``METHODS`` or ``VARIANTS``."""

    config: Mapping[str, object]
    """The method's settings."""

    encoder: EncoderSpec
    """What it was trained on; the weights of a frozen one are not in the checkpoint, and its digest tells it from others."""

    classes: list[str]
    """The names of the classes, in the order of the logits."""

    max_frames: int
    """Frames of 10 ms to which an utterance was cut or repeated in training."""

    blueprint: Mapping[str, object] | None = None
    """What an encoder of transformers is built of without its folder or the hub, or what learns on a frozen one; else None."""

    onset: float | None = None
    """In dB, where an utterance began in training, see :class:`benchmarks.training.TrainingSettings`."""

    corpus: CorpusIdentity | None = None
    """What it was trained on."""

    fold: int | None = None
    """The number of the fold, from 0."""

    epoch: int | None = None
    """The number of the epoch that the validation speaker chose, from 1."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_frames <= _AN_HOUR:
            raise ValueError(f"max_frames is {self.max_frames}; expected 1 to {_AN_HOUR}")


@dataclass(frozen=True)
class TrainingState:
    """What an interrupted training needs besides its tensors."""

    identity: TrainingIdentity
    """Which training it is."""

    curves: Sequence[Epoch]
    """The finished epochs."""

    seconds: float
    """The time that they took."""

    schedule: Mapping[str, object]
    """The state of the learning rate's schedule."""


def save_model(path: Path, model: nn.Module, record: ModelRecord) -> None:
    """Writes a method's weights and buffers with what :func:`load_model` needs to build it again."""
    write_tensors(path, model.state_dict(), {"format": MODEL_FORMAT, "kind": "model", **to_json(record)})


def build_encoder(spec: EncoderSpec, blueprint: Mapping[str, object] | None) -> Any:
    """An encoder for weights that a checkpoint holds; pretrained ones are not looked for, on disk or on the hub.

    Raises:
        ConfigError, TypeError: the options or the blueprint are of another encoder.
    """
    if spec.is_frozen:
        return FeatureEncoder(**{name: cast(int, value) for name, value in (blueprint or {}).items()})
    options = {name: value for name, value in spec.options.items() if name not in ("pretrained", "checkpoint_path")}
    return create_encoder(spec.name, **options, **({} if blueprint is None else {"record": blueprint}))


def load_model(path: Path) -> tuple[Method, ModelRecord]:
    """Builds the method that a checkpoint holds, on the CPU and in eval mode, and returns it with its record.

    Args:
        path: a ``best.safetensors``, or the folder of a fold that holds one.

    Raises:
        CheckpointError: no such file, damaged, not a model of this project, or tensors of another model.
    """
    path = model_file(path)
    tensors, written = read_tensors(path)
    kind, version = (written.pop(key, None) if isinstance(written, dict) else None for key in ("kind", "format"))
    if (kind, version) != ("model", MODEL_FORMAT):
        raise CheckpointError(
            f"{path} holds a {kind} of format {version}; expected a model of format {MODEL_FORMAT}, the {MODEL_NAME} of a fold"
        )
    record = from_json(ModelRecord, written, str(path), "train the model again")
    try:
        encoder = build_encoder(record.encoder, record.blueprint)
        method = create_method(record.method, encoder, len(record.classes), **record.config)
    except (ConfigError, RunError, TypeError) as error:
        raise CheckpointError(f"{path} holds a model that this release does not know: {error}") from error
    load_tensors(method, tensors, str(path))
    return method.eval(), record


def save_state(path: Path, model: nn.Module, optimizer: optim.Optimizer, record: TrainingState) -> None:
    """Writes all that the next epoch depends on; random numbers need no place, since an epoch draws from its own seed."""
    state = optimizer.state_dict()
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for i, entries in state["state"].items():
        tensors |= {f"optimizer.{i}.{name}": value for name, value in entries.items()}
    written = {"format": STATE_FORMAT, "kind": "state", "groups": state["param_groups"], "training": to_json(record)}
    write_tensors(path, tensors, written)


def load_state(path: Path, model: nn.Module, optimizer: optim.Optimizer) -> TrainingState:
    """Puts a saved state into a model and its optimizer and returns the record.

    Raises:
        CheckpointError: damaged, or of another model.
    """
    remedy = "delete it to train afresh"
    tensors, written = read_tensors(path)
    if not isinstance(written, dict) or (written.get("kind"), written.get("format")) != ("state", STATE_FORMAT):
        raise CheckpointError(f"{path} is not an interrupted training of this release: {remedy}")
    record = from_json(TrainingState, written.get("training"), str(path), remedy)
    load_tensors(model, _below("model.", tensors), str(path))
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in _below("optimizer.", tensors).items():
        i, entry = name.split(".")
        parameter = parameters[int(i)]
        # Fused Adam walks parameter and moments in the order of their memory, which must be one.
        same = torch.empty_like(parameter, dtype=value.dtype).copy_(value) if value.shape == parameter.shape else value
        moments.setdefault(int(i), {})[entry] = same
    optimizer.load_state_dict({"state": moments, "param_groups": written["groups"]})
    return record


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
