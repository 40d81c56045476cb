"""Saving and loading a head: safetensors for tensors, JSON for settings, never pickle."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dsnet_plugin.config import DisentangleConfig
from dsnet_plugin.errors import CheckpointError
from dsnet_plugin.head import DisentangleHead

CONFIG_NAME = "dsnet_config.json"
WEIGHTS_NAME = "dsnet.safetensors"


def save_pretrained(head: DisentangleHead, folder: str | Path) -> None:
    """Writes a head (weights and batch-norm buffers, settings, widths) into a folder, made if need be.

    Args:
        head: the head.
        folder: gets ``dsnet_config.json`` and ``dsnet.safetensors``; files of these names are replaced.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "in_features": head.in_features,
        "num_classes": head.num_classes,
        "config": json.loads(head.config.to_json()),
    }
    save_file({name: value.contiguous() for name, value in head.state_dict().items()}, folder / WEIGHTS_NAME)
    (folder / CONFIG_NAME).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def load_pretrained(folder: str | Path) -> DisentangleHead:
    """Reads the head that :func:`save_pretrained` wrote, on the CPU and in eval mode.

    Raises:
        CheckpointError: a file is missing, damaged or not a head's; tensors that are
            missing, surplus or of another shape are counted and named.
        ConfigError: settings that this release does not know.
    """
    folder = Path(folder)
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        if not (folder / name).is_file():
            raise CheckpointError(f"no {name} in {folder}: expected a folder that save_pretrained wrote")
    try:
        record = json.loads((folder / CONFIG_NAME).read_text(encoding="utf-8"))
        config = DisentangleConfig.from_json(json.dumps(record["config"]))
        head = DisentangleHead(int(record["in_features"]), int(record["num_classes"]), config)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder / CONFIG_NAME} is not a head's record ({error!r}): save the head again"
        ) from error
    try:
        tensors = load_file(folder / WEIGHTS_NAME)
    except SafetensorError as error:
        raise CheckpointError(f"{folder / WEIGHTS_NAME} is damaged ({error}): save the head again") from error
    load_tensors(head, tensors, f"{folder / WEIGHTS_NAME}")
    return head.eval()


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
