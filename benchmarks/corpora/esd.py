"""ESD: ten Mandarin and ten English speakers, parallel sentences (Zhou et al., Speech Communication 2022)."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.corpora.audio_files import AudioFiles
from benchmarks.corpora.base import CorpusInfo, Report, Utterance

INFO = CorpusInfo(
    name="esd",
    title="ESD",
    language="Mandarin (speakers 0001 to 0010) and English (0011 to 0020)",
    licence="on request, research only",
    source="https://hltsingapore.github.io/ESD/",
    layout="0011/Angry/0011_000351.wav",
    counts={"angry": 7000, "happy": 7000, "neutral": 7000, "sad": 7000},
    speakers=20,
    notes="The emotion is in the folder's name. The evaluation, test and train folders share speakers: all are used.",
)

_EMOTIONS = {"angry": "angry", "happy": "happy", "neutral": "neutral", "sad": "sad", "surprise": "surprised"}


def utterances(files: AudioFiles, report: Report) -> Iterator[Utterance]:
    """Speaker and number in the name; the emotion is the nearest folder around the file that is named after one."""
    for match, path in files.matching(r"(00[01]\d|0020)_(\d{6})", report):
        folders = (folder.name.lower() for folder in Path(files.name(path)).parents)  # never one above the root
        emotion = next((folder for folder in folders if folder in _EMOTIONS), None)
        if emotion is None:
            report.unknown.append(files.name(path))
        else:
            sentence = (int(match[2]) - 1) % 350  # numbered through the emotions, 350 each
            yield Utterance(match[0], path, match[1], _EMOTIONS[emotion], text=str(sentence))
