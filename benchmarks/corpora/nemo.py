"""nEMO: nine Polish actors, acted (Christop, LREC-COLING 2024)."""

import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks.corpora.audio_files import AudioFiles
from benchmarks.corpora.base import CorpusInfo, Report, Utterance
from benchmarks.corpora.label_files import SEXES, read_table
from benchmarks.errors import CorpusError

INFO = CorpusInfo(
    name="nemo",
    title="nEMO",
    language="Polish",
    licence="CC BY-NC-SA 4.0",
    source="https://github.com/amu-cai/nEMO",
    layout="samples/WR0_anger_64.wav",
    counts={"angry": 749, "happy": 749, "neutral": 809, "sad": 769},
    speakers=9,
    notes="Labels are from data.tsv, checked against the names; without it they are from the names and sex is unknown.",
)

_EMOTIONS = {
    "anger": "angry",
    "fear": "fearful",
    "happiness": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprised": "surprised",
}
_NAME = rf"([A-Z]{{2}}\d)_({'|'.join(_EMOTIONS)})_(\d+)"


def utterances(files: AudioFiles, report: Report) -> Iterator[Utterance]:
    """Labels from ``data.tsv`` joined by file name, or from names such as ``WR0_surprised_64`` where there is no table.

    Raises:
        CorpusError: a table without the columns of the release, or a row that says other than its file's name.
    """
    tables = files.documents(r"data\.tsv")
    if tables:
        yield from _from_table(files, report, tables[0])
        return
    for match, path in files.matching(_NAME, report):
        speaker, emotion, sentence = match[1].upper(), match[2].lower(), match[3]
        yield Utterance(f"{speaker}_{emotion}_{sentence}", path, speaker, _EMOTIONS[emotion], text=sentence)


def _from_table(files: AudioFiles, report: Report, table: Path) -> Iterator[Utterance]:
    rows = read_table(table, ("file_id", "emotion", "speaker_id", "gender"))
    audio = files.listed((Path(row["file_id"]).stem for _, row in rows), report)
    for number, row in rows:
        key, speaker, emotion = Path(row["file_id"]).stem, row["speaker_id"], row["emotion"]
        name = re.fullmatch(_NAME, key)
        if name is None or name.groups()[:2] != (speaker, emotion):
            raise CorpusError(
                f"{files.name(table)}, line {number}: {key} is said to be {emotion!r} of speaker {speaker!r}, against "
                "its name (speaker_emotion_number); get the table again from the release"
            )
        sex = SEXES.get(row["gender"].lower())
        yield Utterance(key, audio[key], speaker, _EMOTIONS[emotion], sex, text=name[3])
