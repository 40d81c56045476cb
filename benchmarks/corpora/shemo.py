"""ShEMO: 87 Persian speakers, from radio plays (Mohamad Nezami et al., LRE 2019)."""

from collections.abc import Iterator

from benchmarks.corpora.audio_files import AudioFiles
from benchmarks.corpora.base import CorpusInfo, Report, Utterance

INFO = CorpusInfo(
    name="shemo",
    title="ShEMO",
    language="Persian",
    licence="see the source",
    source="https://github.com/mansourehk/ShEMO",
    layout="female/F01A01.wav",
    counts={"angry": 1059, "happy": 201, "neutral": 1028, "sad": 449},
    speakers=87,
    notes="Spontaneous speech: 3,000 files, most speakers without some of the classes.",
)

_EMOTIONS = {"A": "angry", "F": "fearful", "H": "happy", "N": "neutral", "S": "sad", "W": "surprised"}


def utterances(files: AudioFiles, report: Report) -> Iterator[Utterance]:
    """Sex and number of the speaker, the emotion's letter, a number."""
    for match, path in files.matching(r"(([FM])\d\d)([AFHNSW])\d+", report):
        key = match[0].upper()
        speaker, sex, emotion = (group.upper() for group in match.groups())
        yield Utterance(key, path, speaker, _EMOTIONS[emotion], sex)
