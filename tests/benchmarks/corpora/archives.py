"""Zip archives with the names of the releases, and what a download leaves in a folder."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

from tests.benchmarks.corpora import trees
from tests.benchmarks.corpora.trees import WAV


def zipped(members: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with ZipFile(stream, "w", ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def release(names: Iterable[str]) -> bytes:
    return zipped(dict.fromkeys(names, WAV))


RAVDESS = release(trees.ravdess_names())
EMODB = release(trees.emodb_names())


def left(folder: Path) -> list[str]:
    """The names of all files below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
