"""URDU: 29 speakers of Urdu talk shows, spontaneous (Latif et al., FIT 2018)."""

from collections.abc import Iterator

from benchmarks.corpora.audio_files import AudioFiles
from benchmarks.corpora.base import CorpusInfo, Report, Utterance

INFO = CorpusInfo(
    name="urdu",
    title="URDU",
    language="Urdu",
    licence="research only",
    source="https://github.com/siddiquelatif/URDU-Dataset",
    layout="Angry/SM1_F10_A010.wav",
    counts={"angry": 100, "happy": 100, "neutral": 100, "sad": 100},
    speakers=29,
    notes="The paper counts 38 speakers, the names 29; only six of them have a neutral utterance.",
)

_EMOTIONS = {"A": "angry", "H": "happy", "N": "neutral", "S": "sad"}


def utterances(files: AudioFiles, report: Report) -> Iterator[Utterance]:
    """Speaker (``SM1``: S, sex, number), file of that speaker, the emotion's letter and number."""
    for match, path in files.matching(r"(S([FM])\d+)_F\d+_([AHNS])\d+", report):
        key = match[0].upper()
        speaker, sex, emotion = (group.upper() for group in match.groups())
        yield Utterance(key, path, speaker, _EMOTIONS[emotion], sex)
