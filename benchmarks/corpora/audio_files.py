"""The files below a corpus' folder, and which of them is the audio of which utterance."""

import os
import re
from collections.abc import Callable, Container, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from benchmarks.corpora.audio_file import is_stand_in
from benchmarks.corpora.base import Report
from benchmarks.errors import CorpusError

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".oga", ".mp3", ".aif", ".aiff", ".au", ".sph"})
"""File suffixes that count as audio, compared without case; soundfile reads them all."""

_LOSSLESS = frozenset({".wav", ".flac", ".aif", ".aiff", ".au", ".sph"})
_Hit = TypeVar("_Hit")


def _stem(path: Path) -> str:
    return path.stem


class AudioFiles:
    """The files below a folder, at any depth, links followed; audio of any common suffix. Hidden ones do not count.

    ``root`` is what the user gave; only a manifest is a file, and then nothing around it is looked at. Names are compared
    without case, since copies of a release differ in it.

    Raises:
        CorpusError: there is no such folder or file.
    """

    def __init__(self, root: Path) -> None:
        if not root.exists():
            raise CorpusError(f"no folder {root}: give the corpus' own folder (for manifest: the CSV file) with --root")
        if not (root.is_dir() or root.is_file()):
            raise CorpusError(f"{root} is neither a folder nor a regular file; save a manifest as a file first")
        self.root = root
        self.folder = root if root.is_dir() else root.parent

    @cached_property
    def _visible(self) -> list[Path]:
        if not self.root.is_dir():
            raise CorpusError(f"no folder: {self.root} is a file; give the corpus' own folder with --root")
        return sorted(path for path in self._walk() if path.is_file() or path.is_symlink())

    def _walk(self) -> Iterator[Path]:
        """Everything below the root, each real folder once, so that a link back up does not lead around for ever."""
        seen: set[tuple[int, int]] = set()
        for folder, folders, names in os.walk(self.root, followlinks=True):
            status = os.stat(folder)
            identity = (status.st_dev, status.st_ino)
            if identity in seen:
                folders.clear()
                continue
            seen.add(identity)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (Path(folder, name) for name in names if not name.startswith("."))

    @cached_property
    def paths(self) -> list[Path]:
        """The audio files: fetched before pointers and empty links, lossless formats before others.

        CREMA-D holds each recording as WAV and as MP3, and in a clone without Git LFS one of them may be a pointer.
        """

        def rank(path: Path) -> tuple[bool, bool]:
            return not path.exists() or is_stand_in(path), path.suffix.lower() not in _LOSSLESS

        return sorted((path for path in self._visible if path.suffix.lower() in AUDIO_SUFFIXES), key=rank)

    @cached_property
    def dangling(self) -> list[str]:
        """The links below the root that lead to nothing."""
        return [self.name(path) for path in self._visible if not path.exists()] if self.root.is_dir() else []

    @cached_property
    def by_stem(self) -> dict[str, Path]:
        """The audio files by their names without suffix; the first of each name."""
        return {path.stem: path for path in reversed(self.paths)}

    def documents(self, pattern: str) -> list[Path]:
        """The files whose path below the root ends in ``pattern`` (a regular expression, after a slash), sorted."""
        compiled = re.compile(f"(?:.*/)?{pattern}", re.IGNORECASE)
        return [path for path in self._visible if path.is_file() and compiled.fullmatch(self.name(path))]

    def matching(
        self, pattern: str, report: Report, key: Callable[[Path], str] = _stem
    ) -> Iterator[tuple[re.Match[str], Path]]:
        """Files whose key, by default the stem, matches the whole ``pattern``, each key once; the rest is reported.

        Which files are looked at depends on the name alone, so the suffix and the folders around a file do not matter.
        """
        return self._sort_out(key, re.compile(pattern, re.IGNORECASE).fullmatch, report)

    def listed(self, names: Iterable[str], report: Report, aside: Container[str] = ()) -> dict[str, Path]:
        """The audio of every utterance that a label file names, found by stem; a path that is not there for the others.

        Audio with no label is reported, except for the names in ``aside``, which belong to the release as well.
        """
        where = {name: self.folder / name for name in names}
        written = {name.casefold(): name for name in where}
        where |= dict(self._sort_out(_stem, lambda stem: written.get(stem.casefold()), report, aside))
        return where

    def _sort_out(
        self,
        key: Callable[[Path], str],
        known: Callable[[str], _Hit | None],
        report: Report,
        aside: Container[str] = (),
    ) -> Iterator[tuple[_Hit, Path]]:
        seen: set[str] = set()
        for path in self.paths:
            name = key(path)
            hit = known(name)
            if hit is None:
                if name not in aside:
                    report.unknown.append(self.name(path))
            elif name.casefold() in seen:
                report.duplicates.append(self.name(path))
            else:
                seen.add(name.casefold())
                yield hit, path

    def name(self, path: Path) -> str:
        """The path below the root's folder, for messages."""
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else str(path)
