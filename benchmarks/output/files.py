"""Files that are written whole or not at all, even by a killed process; and the folder of those that can be made again."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from benchmarks.errors import RunError
from dsnet_plugin import CheckpointError
from dsnet_plugin.serialization import write_bytes

LOCK_NAME = "lock"
RECORD = "dsnet"
"""The key of a safetensors file's metadata that holds its JSON record."""


def cache_root() -> Path:
    """The folder of cached features and corpora, ``$DSNET_CACHE`` or ``~/.cache/dsnet``; it may be deleted at any
    time."""
    return Path(os.environ.get("DSNET_CACHE") or Path.home() / ".cache" / "dsnet")


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
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): delete it to compute it again") from error


def write_lines(path: Path, records: Sequence[Any]) -> None:
    """Writes JSON Lines, one record a line, whole or not at all."""
    write_bytes(path, "".join(json.dumps(record) + "\n" for record in records).encode())


def append_line(path: Path, record: Any) -> None:
    """Adds a record to a file of JSON Lines, and makes file and folder where they are not there.

    Raises:
        OSError: the line cannot be written; names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)  # it may have been removed meanwhile
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")
    except OSError as error:
        if error.filename is None:  # as of a full disk
            error.filename = str(path)
        raise


def read_lines(path: Path) -> list[Any]:
    """Reads what :func:`write_lines` wrote; nothing where there is no file.

    Raises:
        CheckpointError: the file is damaged.
    """
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged ({error}): delete it to compute it again") from error


def lock(folder: Path) -> Any:
    """A context in which this process alone writes to a run's folder; the system lets go of it, however a process ends.

    Raises:
        RunError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(folder / LOCK_NAME).acquire(timeout=0)
    except Timeout:
        raise RunError(f"another run is writing to {folder}: wait for it, or choose another --out") from None


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
    except (SafetensorError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file ({error})") from error
    if record is None:
        raise CheckpointError(f"{path} was not written by dsnet train: it has no record of a model")
    return tensors, record
