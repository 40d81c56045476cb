"""Saving and loading a head or a wrapped model: safetensors for tensors, JSON for settings, never pickle."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from dsnet_plugin.config import DisentangleConfig
from dsnet_plugin.errors import CheckpointError, WrapError
from dsnet_plugin.head import DisentangleHead
from dsnet_plugin.locate import Location
from dsnet_plugin.slot import HeadBehind, HeadSlot
from dsnet_plugin.wrap import WrappedModel, attach

CONFIG_NAME = "dsnet_config.json"
WEIGHTS_NAME = "dsnet.safetensors"


def save_pretrained(module: DisentangleHead | WrappedModel, folder: str | Path) -> None:
    """Writes a head, or what training changes of a wrapped model, into a folder, made if need be.

    Of a wrapped model that is the head, every trainable parameter of the backbone, and all buffers (batch-norm
    statistics); of frozen parameters, which are left to whoever made the model, the names and shapes alone.

    Args:
        module: a head or a wrapped model.
        folder: gets ``dsnet_config.json`` and ``dsnet.safetensors``; files of these names are replaced, each at once.

    Raises:
        WrapError: neither of the two, such as a wrapped model inside DDP.
    """
    if not isinstance(module, DisentangleHead | WrappedModel):
        raise WrapError(f"a {type(module).__name__} is no head and no wrapped model: save what wrap() gave")
    head = module.head if isinstance(module, WrappedModel) else module
    record: dict[str, Any] = {"in_features": head.in_features, "num_classes": head.num_classes}
    record["config"] = json.loads(head.config.to_json())
    state = module.state_dict()
    if isinstance(module, WrappedModel):
        model = module.model.backbone if isinstance(module.model, HeadBehind) else module.model
        frozen = {name: list(state.pop(name).shape) for name in _frozen(module)}
        record["model"] = {"class": type(model).__name__, **asdict(module.location), "frozen": frozen}
    weights = save({name: value.detach().cpu().clone().contiguous() for name, value in state.items()})
    write_bytes(Path(folder) / WEIGHTS_NAME, weights)
    write_bytes(Path(folder) / CONFIG_NAME, (json.dumps(record, indent=2) + "\n").encode())


def load_pretrained(folder: str | Path, model: nn.Module | None = None) -> Any:
    """Reads what :func:`save_pretrained` wrote.

    Args:
        folder: with the two files.
        model: of the same architecture; gets the head and what was trained, in place. After an error it is as it was.

    Returns:
        In eval mode: without ``model`` the :class:`DisentangleHead`, on the CPU in the dtype it was saved in; with it the
        :class:`WrappedModel`, on the model's device and in its dtype.

    Raises:
        CheckpointError: a file is missing, damaged or of something else; tensors that do not fit are counted and named.
        ConfigError: settings that this release does not know.
        HeadNotFoundError, ShapeError: the model has no classifier of the saved name, or one of another width.
        WrapError: the model is wrapped already.
    """
    record, tensors = _read(Path(folder))
    head = DisentangleHead(record["in_features"], record["num_classes"], record["config"])
    source, place = str(Path(folder) / WEIGHTS_NAME), record.get("model")
    if (model is None) != (place is None):
        what = "a wrapped model: give the model to put it in" if place else "a head alone: load it without a model"
        raise CheckpointError(f"{folder} holds {what}, load_pretrained(folder{', model' if place else ''})")
    if model is None or place is None:
        load_tensors(head, tensors, source)
        return head.to(tensors["p_er.projection.weight"].dtype).eval()
    if any(isinstance(module, HeadSlot) for module in model.modules()):
        raise WrapError(f"this {type(model).__name__} is wrapped already: give the model that unwrap() gives back")
    wrapped = attach(model, head, place["location"])
    try:
        state, frozen = wrapped.state_dict(), place["frozen"]
        fits = {name for name, gap in frozen.items() if name in state and state[name].shape == gap.shape}
        kept = {name: state[name] if name in fits else gap for name, gap in frozen.items()}
        load_tensors(wrapped, kept | tensors, f"{source}, of a {place['class']} and given a {type(model).__name__},")
    except BaseException:
        wrapped.unwrap()
        raise
    return wrapped.eval()


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The record, checked, with its location and the shapes of frozen parameters as objects; and the tensors."""
    path, weights_path = folder / CONFIG_NAME, folder / WEIGHTS_NAME
    for file in (path, weights_path):
        if not file.is_file():
            raise CheckpointError(f"no {file.name} in {folder}: expected a folder that save_pretrained wrote")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        widths, config = [record["in_features"], record["num_classes"]], json.dumps(record["config"])
        if (place := record.get("model")) is not None:
            names = tuple(map(str, place["names"]))
            location = Location(names, widths[0], place["num_classes"], place["behind"])
            # Without content: each stands in for a parameter that the given model lacks, so that it is named.
            frozen = {name: torch.empty(shape, device="meta") for name, shape in place["frozen"].items()}
            record["model"] = {"class": place["class"], "location": location, "frozen": frozen}
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{path} is not a head's record ({error!r}): save the head again") from error
    if not all(type(width) is int and 0 < width < 2**20 for width in widths):
        raise CheckpointError(f"{path} has the widths {widths}; expected whole numbers: save the head again")
    record["config"] = DisentangleConfig.from_json(config)
    try:
        return record, load(weights_path.read_bytes())
    except SafetensorError as error:
        raise CheckpointError(f"{weights_path} is damaged ({error}): save the head again") from error


def _frozen(wrapped: WrappedModel) -> list[str]:
    """The frozen parameters of the backbone, under each of their names."""
    head = {id(parameter) for parameter in wrapped.head.parameters()}
    named = wrapped.named_parameters(remove_duplicate=False)
    return [name for name, value in named if not value.requires_grad and id(value) not in head]


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Loads a whole state, parameters and buffers, or nothing.

    Args:
        module: gets the tensors.
        tensors: by the names of ``module.state_dict()``.
        source: where they come from, for the message.

    Raises:
        CheckpointError: tensors are missing, surplus or of another shape; their number and names are given.
    """
    expected = module.state_dict()
    kinds = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "surplus": sorted(tensors.keys() - expected.keys()),
        "of another shape": [
            f"{name} {tuple(tensors[name].shape)} for {tuple(value.shape)}"
            for name, value in expected.items()
            if name in tensors and tensors[name].shape != value.shape
        ],
    }
    problems = [f"{len(names)} {kind} ({_listed(names)})" for kind, names in kinds.items() if names]
    if problems:
        raise CheckpointError(f"{source} belongs to another {type(module).__name__}: {', '.join(problems)}")
    module.load_state_dict(dict(tensors))


def _listed(names: list[str], shown: int = 6) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def write_bytes(path: Path, content: bytes, durable: bool = True) -> None:
    """Writes a file whole or not at all: beside it first, then in its place. Makes the folder.

    Args:
        path: the file.
        content: all of it.
        durable: wait until it is on the disk; without, a power failure may cost it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
