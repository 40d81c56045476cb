"""Writing files so that a killed process or a full disk never leaves half of one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dsnet_plugin import CheckpointError
from dsnet_plugin.serialization import write_bytes

RECORD = "dsnet"
"""The key of a safetensors file's metadata that holds its JSON record."""


def write_json(path: Path, record: Any) -> None:
    """Writes a JSON document, whole or not at all."""
    write_bytes(path, (json.dumps(record, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """Reads a JSON document.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged ({error}): delete it to compute it again") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], record: Any) -> None:
    """Writes tensors and a JSON record as one safetensors file, whole or not at all, so that the two cannot disagree."""
    content = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(content, metadata={RECORD: json.dumps(record)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    """Reads what :func:`write_tensors` wrote: tensors on the CPU and the record.

    Raises:
        CheckpointError: no such file, not safetensors, or without a record of this project.
    """
    if not path.is_file():
        raise CheckpointError(f"no file {path}: expected a .safetensors file that dsnet train wrote")
    try:
        with safe_open(path, framework="pt") as archive:
            written = (archive.metadata() or {}).get(RECORD)
            tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
        record = None if written is None else json.loads(written)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file ({error})") from error
    if record is None:
        raise CheckpointError(f"{path} was not written by dsnet train: it has no record of a model")
    return tensors, record
