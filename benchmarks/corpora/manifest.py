"""Manifest: any speech at all, listed in a CSV file; ``--root`` is that file.

The header names the columns ``path``, ``speaker`` and ``label``, and, if wanted, ``key``, ``sex``, ``session``, ``text``,
``start`` and ``end``; others are not looked at. A path is absolute or starts at the manifest's folder. ``start`` and ``end``
make a row a part of its file: in seconds, or as ``[N days ]HH:MM:SS``, and empty for the file's own. Without a ``key`` the
path as written is the key, with start and end where there are any.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from benchmarks.corpora.audio_files import AudioFiles
from benchmarks.corpora.base import CorpusInfo, Report, Utterance
from benchmarks.corpora.label_files import SEXES, read_table
from benchmarks.errors import CorpusError

INFO = CorpusInfo(
    name="manifest",
    title="a manifest",
    language="any",
    licence="as the audio's",
    source="your own",
    layout="my_corpus.csv, with the columns path, speaker, label, and if wanted key, sex, session, text, start, end",
    counts={},
    speakers=0,
    notes="UTF-8; separated by commas, semicolons or tabs. Relative paths start at the CSV file's folder. start and end, in "
    "seconds, make a row a part of its file. Other words for labels: --map gioia=happy.",
)

LABELS = {
    "angry": ("angry", "anger", "ang", "a"),
    "happy": ("happy", "happiness", "joy", "hap", "h", "excited", "exc"),
    "neutral": ("neutral", "neu", "n"),
    "sad": ("sad", "sadness", "s"),
    "boredom": ("boredom", "bored"),
    "calm": ("calm",),
    "disgust": ("disgust", "disgusted", "dis"),
    "fearful": ("fearful", "fear", "fea"),
    "frustrated": ("frustrated", "frustration", "fru"),
    "surprised": ("surprised", "surprise", "sur"),
    "other": ("other", "oth"),
}
"""The accepted words of each label, in lower case; those outside the four classes are counted and skipped."""

_EXCITED = ("excited", "exc")
_BY_WORD = {word: label for label, words in LABELS.items() for word in words}
_CLOCK = re.compile(r"(?:(\d+) days? )?(\d+):(\d\d):(\d\d(?:\.\d+)?)")
"""A time as pandas and audformat write it."""


def utterances(files: AudioFiles, report: Report, words: Mapping[str, str] | None = None) -> Iterator[Utterance]:
    """One utterance a row.

    Args:
        files: ``files.root`` is the table.
        report: gets what is odd.
        words: what further words of the table mean, such as ``{"gioia": "happy"}``.

    Raises:
        CorpusError: not a table, a missing column, no rows, an empty path or speaker, unknown labels or sexes, times that
            are none, or one key or one piece of audio twice.
    """
    table = files.root
    if table.is_dir():
        raise CorpusError(f"{table} is a folder; for manifest, give the CSV file itself with --root")
    rows = read_table(table, ("path", "speaker", "label"))
    if not rows:
        raise CorpusError(f"{table}: a header and no rows; expected one row for each utterance")
    labels = _labels(table, [(number, row["label"].lower()) for number, row in rows], words or {}, report)
    lines: dict[str, int] = {}
    pieces: dict[tuple[Path, float, float | None], int] = {}
    backslashes = 0
    for number, row in rows:
        where = f"{table}, line {number}"
        for column in ("path", "speaker"):
            if not row[column]:
                raise CorpusError(f"{where}: empty {column}; each utterance needs one")
        sex = row.get("sex", "").lower()
        if sex and sex not in SEXES:
            raise CorpusError(f"{where}: unknown sex {row['sex']!r}; accepted are {', '.join(SEXES)}, or nothing")
        start, end = _seconds(where, "start", row) or 0.0, _seconds(where, "end", row)
        if end is not None and end <= start:
            raise CorpusError(f"{where}: ends at {end:g} s and starts at {start:g} s; expected a later end")
        part = "" if start == 0 and end is None else f"@{start:g}-{'' if end is None else f'{end:g}'}"
        key = row.get("key") or row["path"] + part
        if key in lines:
            raise CorpusError(f"{where}: the key {key!r} is that of line {lines[key]} too; each key must be unique")
        lines[key] = number
        path = files.folder / row["path"]
        if "\\" in row["path"] and not path.exists():
            path = files.folder / row["path"].replace("\\", "/")
            backslashes += 1
        piece = (path.resolve(), start, end)
        if piece in pieces:
            raise CorpusError(f"{where}: {row['path']} is the audio of line {pieces[piece]} too; list it once")
        pieces[piece] = number
        label = labels[row["label"].lower()]
        session, text = row.get("session") or None, row.get("text") or None
        yield Utterance(key, path, row["speaker"], label, SEXES.get(sex), session, text, start, end)
    if backslashes:
        report.remarks.append(f"{backslashes:,} paths are written with backslashes and read with slashes")


def _labels(table: Path, seen: list[tuple[int, str]], words: Mapping[str, str], report: Report) -> dict[str, str]:
    """The meaning of each word of the table; the words without one are refused together."""
    by_word = {**_BY_WORD, **{word.strip().lower(): label.strip().lower() for word, label in words.items()}}
    counts, firsts = Counter(word for _, word in seen), {word: number for number, word in reversed(seen)}
    for word in words:
        if by_word[word.strip().lower()] not in LABELS:
            raise CorpusError(f"--map {word}={words[word]}: no such label; expected one of {', '.join(LABELS)}")
        if word.strip().lower() not in counts:
            raise CorpusError(f"--map {word}={words[word]}: no row of {table} has the label {word!r}")
    if unknown := {word: count for word, count in counts.items() if word not in by_word}:
        most = Counter(unknown).most_common(20)
        shown = ", ".join(f"{word!r} ({count:,}, first in line {firsts[word]})" for word, count in most)
        shown += f" and {len(unknown) - 20:,} more words" if len(unknown) > 20 else ""
        word = most[0][0]
        near = get_close_matches(word, _BY_WORD, n=1)
        example = f"--map {word or 'WORD'}={_BY_WORD[near[0]] if near else 'happy'}"
        raise CorpusError(
            f"{table}: unknown labels: {shown}; say what they mean, as with {example}; accepted are {', '.join(_BY_WORD)}"
        )
    excited = sum(counts[word] for word in _EXCITED if by_word[word] == "happy")
    if excited:
        report.remarks.append(f"{excited:,} excited utterances count as happy; --map excited=other leaves them out")
    return by_word


def _seconds(where: str, column: str, row: Mapping[str, str]) -> float | None:
    """A time in seconds; None where the column is not there or empty."""
    written = row.get(column, "")
    if written.lower() in ("", "nat", "nan"):
        return None
    if match := _CLOCK.fullmatch(written):
        days, hours, minutes, seconds = (float(group or 0) for group in match.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    try:
        seconds = float(written)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < 1e7:
        raise CorpusError(f"{where}: {column} {written!r}; expected seconds from 0 on, as 12.5 or 00:00:12.5")
    return seconds
