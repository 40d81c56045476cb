"""What every corpus is: utterances, what is known of the release, and a report of all that was left out."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import soundfile

from backbones import SAMPLE_RATE
from benchmarks.errors import CorpusError

EMOTIONS = ("angry", "happy", "neutral", "sad")
"""The paper's four classes, in the order of every label index, table and confusion matrix."""

EMOTION_COLORS = dict(zip(EMOTIONS, ("tab:blue", "tab:orange", "tab:green", "tab:red"), strict=True))
"""The paper's, in Figure 3."""

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".opus", ".oga", ".mp3", ".aif", ".aiff", ".au", ".sph"})
"""File suffixes that count as audio, compared without case; soundfile reads them all."""

SEXES = {"female": "F", "f": "F", "male": "M", "m": "M"}
"""The words for a speaker's sex in label files, in lower case, and what stands for them here."""

_LOSSLESS = frozenset({".wav", ".flac", ".aif", ".aiff", ".au", ".sph"})
_Hit = TypeVar("_Hit")


@dataclass(frozen=True)
class Utterance:
    """One labelled recording.

    ``key`` is its name in the release (unique in the corpus), ``speaker`` its true speaker, ``label`` the emotion as a
    word (``"angry"``), ``sex`` ``"F"``, ``"M"`` or None, ``session`` the recording session of a dyadic corpus or None.
    A loader may give a ``path`` that is not there (a label file names it): :func:`collect` reports it as missing.
    """

    key: str
    path: Path
    speaker: str
    label: str
    sex: str | None = None
    session: str | None = None


@dataclass(frozen=True)
class CorpusInfo:
    """What is known of a release.

    ``layout`` is an example of its audio paths, ``labels`` of its label files ("" where names carry the labels).
    ``counts`` are the expected utterances of each of the four classes, ``speakers`` how many speakers have them; ``{}``
    and 0 where nobody can know.
    """

    name: str
    title: str
    language: str
    licence: str
    source: str
    layout: str
    counts: dict[str, int]
    speakers: int
    labels: str = ""
    notes: str = ""


@dataclass
class Report:
    """Everything of a corpus that is not among its utterances, and why.

    ``missing``: named in a label file, no audio found. ``unreadable``: audio that cannot be opened or has no samples,
    with the reason. ``pointers``: Git LFS pointer files in the place of audio. ``duplicates``: further files with a
    name seen before (the first in sorted order is used, lossless formats first). ``unknown``: audio files whose name is
    none of this corpus', or is in no label file. ``skipped``: how many utterances have a label outside the classes, by
    label. ``low_rate``: used, but with fewer than 16,000 samples a second, with their rate in Hz.
    """

    missing: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    pointers: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    low_rate: dict[str, int] = field(default_factory=dict)

    @property
    def absent(self) -> int:
        """How many utterances should be there and cannot be used."""
        return len(self.missing) + len(self.unreadable) + len(self.pointers)


@dataclass(frozen=True)
class Corpus:
    """A corpus as found on disk: the usable four-class utterances, sorted by key, and the report."""

    info: CorpusInfo
    root: Path
    utterances: list[Utterance]
    report: Report

    @property
    def speakers(self) -> list[str]:
        """The speakers' names, sorted."""
        return sorted({utterance.speaker for utterance in self.utterances})

    def counts(self) -> dict[str, int]:
        """The number of utterances of each of the four classes."""
        found = Counter(utterance.label for utterance in self.utterances)
        return {emotion: found[emotion] for emotion in EMOTIONS}


def _stem(path: Path) -> str:
    return path.stem


class AudioFiles:
    """The files below a folder, at any depth; audio of any common suffix. Hidden files (``._*``) do not count.

    ``root`` is what the user gave; only a manifest is a file, and then nothing around it is looked at.

    Raises:
        CorpusError: there is no such folder or file.
    """

    def __init__(self, root: Path) -> None:
        if not root.exists():
            raise CorpusError(f"no folder {root}: give the corpus' own folder (for manifest: the CSV file) with --root")
        self.root = root
        self.folder = root if root.is_dir() else root.parent

    @cached_property
    def _visible(self) -> list[Path]:
        if not self.root.is_dir():
            raise CorpusError(f"no folder: {self.root} is a file; give the corpus' own folder with --root")
        return [path for path in sorted(self.root.rglob("*")) if not path.name.startswith(".") and path.is_file()]

    @cached_property
    def paths(self) -> list[Path]:
        """The audio files, lossless formats first (CREMA-D holds each recording as WAV and as MP3)."""
        audio = [path for path in self._visible if path.suffix.lower() in AUDIO_SUFFIXES]
        return sorted(audio, key=lambda path: path.suffix.lower() not in _LOSSLESS)

    @cached_property
    def by_stem(self) -> dict[str, Path]:
        """The audio files by their names without suffix; the first of each name."""
        return {path.stem: path for path in reversed(self.paths)}

    def documents(self, pattern: str) -> list[Path]:
        """The files whose path ends in ``pattern`` (a regular expression, matched after a slash), sorted."""
        compiled = re.compile(f".*/{pattern}")
        return [path for path in self._visible if compiled.fullmatch(path.absolute().as_posix())]

    def matching(
        self, pattern: str, report: Report, key: Callable[[Path], str] = _stem
    ) -> Iterator[tuple[re.Match[str], Path]]:
        """Files whose key, by default the stem, matches the whole ``pattern``, each key once; the rest is reported.

        Which files are looked at depends on the name alone, so the suffix and the folders around a file do not matter.
        """
        return self._sort_out(key, re.compile(pattern).fullmatch, report)

    def listed(self, names: Iterable[str], report: Report, aside: Container[str] = ()) -> dict[str, Path]:
        """The audio of every utterance that a label file names, found by stem; a path that is not there for the others.

        Audio with no label is reported, except for the names in ``aside``, which belong to the release as well.
        """
        where = {name: self.folder / name for name in names}
        where |= dict(self._sort_out(_stem, lambda stem: stem if stem in where else None, report, aside))
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
            elif name in seen:
                report.duplicates.append(self.name(path))
            else:
                seen.add(name)
                yield hit, path

    def name(self, path: Path) -> str:
        """The path below the root's folder, for messages."""
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else str(path)


def read_label_lines(
    document: Path, start: str, pattern: str, emotions: Mapping[str, str]
) -> Iterator[tuple[re.Match[str], str]]:
    """The label lines of a text file that has others too: each match, and the emotion that its group ``code`` means.

    Only the lines that begin with ``start`` are label lines, and every one of them must match the whole ``pattern``.

    Raises:
        CorpusError: a label line of another form, or a code that is none of ``emotions``.
    """
    # The raters' comments are in whatever encoding they typed in; the label lines are ASCII.
    for number, line in enumerate(document.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.startswith(start):
            continue
        match = re.fullmatch(pattern, line.rstrip())
        if match is None:
            raise CorpusError(f"{document}, line {number}: {line[:80]!r} is no label line; expected the form {pattern}")
        if match["code"] not in emotions:
            known = ", ".join(emotions)
            raise CorpusError(f"{document}, line {number}: unknown emotion {match['code']!r}; the release has {known}")
        yield match, emotions[match["code"]]


def read_table(path: Path, columns: Iterable[str]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a table with a header line, each with its line number; values are stripped of surrounding spaces.

    The separator is the comma, semicolon or tab that the header line has most of; column names are in lower case.

    Raises:
        CorpusError: not UTF-8, empty, a missing column, or a row with more or fewer values than the header.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 text (byte {error.start}); save it as CSV in UTF-8") from None
    if not lines or not lines[0].strip():
        raise CorpusError(f"{path}: no first line; expected a header with the columns {', '.join(columns)}")
    reader = csv.reader(lines, delimiter=max(",;\t", key=lines[0].count), strict=True)
    rows = []
    try:
        header = [name.strip().lower() for name in next(reader)]
        missing = [column for column in columns if column not in header]
        if missing:
            raise CorpusError(f"{path}: no column {', '.join(missing)}; the first line has {', '.join(header)}")
        for values in reader:
            if not any(value.strip() for value in values):
                continue
            if len(values) != len(header):
                seen = f"{len(values)} values, but the header has {len(header)} columns"
                raise CorpusError(f"{path}, line {reader.line_num}: {seen}")
            rows.append((reader.line_num, dict(zip(header, (value.strip() for value in values), strict=True))))
    except csv.Error as error:
        raise CorpusError(
            f"{path}, line {reader.line_num}: {error}; look for a quotation mark without its pair"
        ) from None
    return rows


Loader = Callable[[AudioFiles, Report], Iterable[Utterance]]
"""A corpus file's ``utterances``: yields every labelled utterance, of any emotion, and reports all other files."""


def collect(info: CorpusInfo, loader: Loader, root: Path) -> Corpus:
    """Runs a loader over a folder, keeps the four classes, and opens each file's header.

    Raises:
        CorpusError: no folder, nothing of this corpus in it, or one key twice.
    """
    files, report = AudioFiles(root), Report()
    kept: dict[str, Utterance] = {}
    found = 0
    for utterance in loader(files, report):
        found += 1
        if utterance.label not in EMOTIONS:
            report.skipped[utterance.label] += 1
        elif utterance.key in kept:
            raise CorpusError(f"{root}: the utterance {utterance.key} is listed twice; each key must be unique")
        elif not utterance.path.is_file():
            report.missing.append(utterance.key)
        elif _readable(files, utterance.path, report):
            kept[utterance.key] = utterance
    if not found and not report.missing:
        seen = f"{len(files.paths)} audio files" + (f", such as {files.name(files.paths[0])}" if files.paths else "")
        wanted = info.layout + (f" and labels in files like {info.labels}" if info.labels else "")
        raise CorpusError(f"nothing of {info.title} in {root}: saw {seen}; expected names like {wanted}")
    return Corpus(info, root, [kept[key] for key in sorted(kept)], report)


def _readable(files: AudioFiles, path: Path, report: Report) -> bool:
    try:
        header = soundfile.info(str(path))
        if header.frames > 0:
            if header.samplerate < SAMPLE_RATE:
                report.low_rate[files.name(path)] = header.samplerate
            return True
        report.unreadable[files.name(path)] = "0 samples"
    except soundfile.SoundFileError as error:
        with path.open("rb") as stream:
            head = stream.read(64)
        if head.startswith(b"version https://git-lfs"):
            report.pointers.append(files.name(path))
        else:
            report.unreadable[files.name(path)] = str(error).split(": ")[-1].rstrip(".") if head else "empty file"
    return False
