"""Trained models and interrupted trainings on disk: one safetensors file each, with its JSON record inside."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn, optim

from backbones import create_encoder
from benchmarks.errors import RunError
from benchmarks.methods import Method, create_method
from benchmarks.output.files import read_tensors, write_tensors
from dsnet_plugin import CheckpointError, ConfigError
from dsnet_plugin.serialization import load_tensors

MODEL_NAME = "best.safetensors"
STATE_NAME = "state.safetensors"
FORMAT = 1


def save_model(path: Path, model: nn.Module, record: dict[str, Any]) -> None:
    """Writes a method's weights and buffers with what :func:`load_model` needs to build it again."""
    write_tensors(path, model.state_dict(), {"format": FORMAT, "kind": "model", **record})


def build_encoder(name: str, blueprint: dict[str, Any] | None) -> Any:
    """An encoder for weights that a checkpoint holds; one of transformers is built without its folder or the hub."""
    return create_encoder(name) if blueprint is None else create_encoder(name, record=blueprint)


def load_model(path: Path) -> tuple[Method, dict[str, Any]]:
    """Builds the method that a checkpoint holds, on the CPU and in eval mode, and returns it with its record.

    Args:
        path: a ``best.safetensors``, or the folder of a fold that holds one.

    Raises:
        CheckpointError: no such file, damaged, not a model of this project, or tensors of another model.
    """
    path = path / MODEL_NAME if path.is_dir() else path
    tensors, record = read_tensors(path)
    if record.get("kind") != "model" or record.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} holds a {record.get('kind')} of format {record.get('format')}; expected a model of format {FORMAT}, "
            f"the {MODEL_NAME} of a fold"
        )
    if lacking := sorted({"method", "config", "encoder", "classes", "max_frames"} - record.keys()):
        raise CheckpointError(f"{path}: its record lacks {', '.join(lacking)}; train the model again")
    try:
        encoder = build_encoder(record["encoder"], record.get("blueprint"))
        method = create_method(record["method"], encoder, len(record["classes"]), **record["config"])
    except (ConfigError, RunError, TypeError) as error:
        raise CheckpointError(f"{path} holds a model that this release does not know: {error}") from error
    load_tensors(method, tensors, str(path))
    return method.eval(), record


def save_state(path: Path, model: nn.Module, optimizer: optim.Optimizer, record: dict[str, Any]) -> None:
    """Writes all that the next epoch depends on; random numbers need no place, since an epoch draws from its own seed."""
    state = optimizer.state_dict()
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for i, entries in state["state"].items():
        tensors |= {f"optimizer.{i}.{name}": value for name, value in entries.items()}
    write_tensors(path, tensors, {"format": FORMAT, "kind": "state", "groups": state["param_groups"], **record})


def load_state(path: Path, model: nn.Module, optimizer: optim.Optimizer) -> dict[str, Any]:
    """Puts a saved state into a model and its optimizer and returns the record.

    Raises:
        CheckpointError: damaged, or of another model.
    """
    tensors, record = read_tensors(path)
    if record.get("kind") != "state" or record.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not an interrupted training of this release: delete it to train afresh")
    load_tensors(model, _below("model.", tensors), str(path))
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in _below("optimizer.", tensors).items():
        i, entry = name.split(".")
        own = parameters[int(i)]
        # Fused Adam walks parameter and moments in the order of their memory, which must be one.
        same = torch.empty_like(own, dtype=value.dtype).copy_(value) if value.shape == own.shape else value
        moments.setdefault(int(i), {})[entry] = same
    optimizer.load_state_dict({"state": moments, "param_groups": record["groups"]})
    return dict(record)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
