"""Features on disk: one file each, found by a digest of the recording and of all that the features depend on."""

import hashlib
from contextlib import suppress
from errno import ENOENT
from functools import lru_cache
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from benchmarks.errors import AudioError
from benchmarks.output.files import cache_root
from dsnet_plugin.serialization import write_bytes


def feature_file(path: Path, settings: str, start: float = 0.0, end: float | None = None) -> Path:
    """Where the features of a recording, or of the part of it from ``start`` to ``end`` seconds, are or would be.

    Args:
        path: the recording, which is read and known by its content: one that moved or was renamed keeps its features.
        settings: all else that the features depend on.
        start: where the part begins, in seconds.
        end: where it ends; None for the end of the recording.

    Raises:
        AudioError: no such recording.
    """
    try:
        status = path.stat()
        content = _digest_of_file(path, status.st_mtime_ns, status.st_size) if path.is_file() else ""
    except OSError as error:
        raise AudioError(f"{path}: {'no such file' if error.errno == ENOENT else error.strerror}") from error
    if not content:
        raise AudioError(f"{path}: no regular file")
    key = hashlib.sha256(f"{content}/{settings}/{start!r}/{end!r}".encode()).hexdigest()
    return cache_root() / "features" / key[:2] / f"{key}.safetensors"


def read_features(file: Path) -> Tensor | None:
    """The features in a file; None where there is none, or its bytes have changed."""
    if file.is_file():
        with suppress(SafetensorError, OSError, ValueError), safe_open(file, framework="pt") as archive:
            features: Tensor = archive.get_tensor("features")
            if (archive.metadata() or {}).get("sha256") == _digest(features):
                return features
    return None


def write_features(file: Path, features: Tensor) -> None:
    """Writes features, whole or not at all."""
    # Thousands of them, each to be had again: not worth waiting for the disk.
    write_bytes(file, save({"features": features.contiguous()}, {"sha256": _digest(features)}), durable=False)


def _digest(features: Tensor) -> str:
    return hashlib.sha256(repr(tuple(features.shape)).encode() + features.contiguous().numpy().tobytes()).hexdigest()


@lru_cache(maxsize=64)  # many utterances may be parts of one file
def _digest_of_file(path: Path, _changed: int, _size: int) -> str:
    """The content's digest, read again when the file has changed."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
