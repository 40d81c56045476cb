"""Saving and loading a head: safetensors for tensors, JSON for settings, never pickle."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from dsnet_plugin.config import DisentangleConfig
from dsnet_plugin.errors import CheckpointError, ConfigError
from dsnet_plugin.head import DisentangleHead

CONFIG_NAME = "dsnet_config.json"
WEIGHTS_NAME = "dsnet.safetensors"


def save_pretrained(head: DisentangleHead, folder: str | Path) -> None:
    """Writes a head (weights and batch-norm buffers, settings, widths) into a folder, made if need be.

    Args:
        head: the head.
        folder: gets ``dsnet_config.json`` and ``dsnet.safetensors``; files of these names are replaced, each at once.
    """
    record = {
        "in_features": head.in_features,
        "num_classes": head.num_classes,
        "config": json.loads(head.config.to_json()),
    }
    weights = save({name: value.detach().cpu().contiguous() for name, value in head.state_dict().items()})
    write_bytes(Path(folder) / WEIGHTS_NAME, weights)
    write_bytes(Path(folder) / CONFIG_NAME, (json.dumps(record, indent=2) + "\n").encode())


def load_pretrained(folder: str | Path) -> DisentangleHead:
    """Reads the head that :func:`save_pretrained` wrote, on the CPU, in the dtype it was saved in, in eval mode.

    Raises:
        CheckpointError: a file is missing, damaged or not a head's; tensors that are
            missing, surplus or of another shape are counted and named.
        ConfigError: settings that this release does not know.
    """
    config_path, weights_path = Path(folder) / CONFIG_NAME, Path(folder) / WEIGHTS_NAME
    for path in (config_path, weights_path):
        if not path.is_file():
            raise CheckpointError(f"no {path.name} in {folder}: expected a folder that save_pretrained wrote")
    try:
        record = json.loads(config_path.read_text(encoding="utf-8"))
        widths = [record["in_features"], record["num_classes"]]
        config = DisentangleConfig.from_json(json.dumps(record["config"]))
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise CheckpointError(f"{config_path} is not a head's record ({error!r}): save the head again") from error
    if not all(type(width) is int and 0 < width < 2**20 for width in widths):
        raise CheckpointError(f"{config_path} has the widths {widths}; expected whole numbers: save the head again")
    try:
        tensors = load(weights_path.read_bytes())
    except SafetensorError as error:
        raise CheckpointError(f"{weights_path} is damaged ({error}): save the head again") from error
    head = DisentangleHead(widths[0], widths[1], config)
    load_tensors(head, tensors, str(weights_path))
    return head.to(next(iter(tensors.values())).dtype).eval()


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


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all: beside it first, then in its place. Makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
