"""Manifest: any speech at all, listed in a CSV file; ``--root`` is that file.

The header names the columns ``path``, ``speaker`` and ``label``, and, if wanted, ``key``, ``sex`` and ``session``. A
path is absolute or starts at the manifest's folder; without a ``key`` the path as written is the key.
"""

from collections.abc import Iterator

from benchmarks.corpora.base import SEXES, AudioFiles, CorpusInfo, Report, Utterance, read_table
from benchmarks.errors import CorpusError

INFO = CorpusInfo(
    name="manifest",
    title="a manifest",
    language="any",
    licence="as the audio's",
    source="your own",
    layout="my_corpus.csv, with the columns path, speaker, label",
    counts={},
    speakers=0,
    notes="UTF-8; separated by commas, semicolons or tabs.",
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

_BY_WORD = {word: label for label, words in LABELS.items() for word in words}


def utterances(files: AudioFiles, report: Report) -> Iterator[Utterance]:
    """One utterance a row.

    Raises:
        CorpusError: not a table, a missing column, no rows, an empty path or speaker, an unknown label or sex, or one
            key twice.
    """
    table = files.root
    if table.is_dir():
        raise CorpusError(f"{table} is a folder; for manifest, give the CSV file itself with --root")
    rows = read_table(table, ("path", "speaker", "label"))
    if not rows:
        raise CorpusError(f"{table}: a header and no rows; expected one row for each utterance")
    lines: dict[str, int] = {}
    for number, row in rows:
        where = f"{table}, line {number}"
        for column in ("path", "speaker"):
            if not row[column]:
                raise CorpusError(f"{where}: empty {column}; each utterance needs one")
        label, sex = _BY_WORD.get(row["label"].lower()), row.get("sex", "").lower()
        if label is None:
            raise CorpusError(f"{where}: unknown label {row['label']!r}; accepted are {', '.join(_BY_WORD)}")
        if sex and sex not in SEXES:
            raise CorpusError(f"{where}: unknown sex {row['sex']!r}; accepted are {', '.join(SEXES)}, or nothing")
        key = row.get("key") or row["path"]
        if key in lines:
            raise CorpusError(f"{where}: the key {key!r} is that of line {lines[key]} too; each key must be unique")
        lines[key] = number
        yield Utterance(
            key, files.folder / row["path"], row["speaker"], label, SEXES.get(sex), row.get("session") or None
        )
