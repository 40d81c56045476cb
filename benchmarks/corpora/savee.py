"""SAVEE: four British men, acted, TIMIT sentences (Haq and Jackson, AVSP 2009)."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.corpora.audio_files import AudioFiles
from benchmarks.corpora.base import CorpusInfo, Report, Utterance

INFO = CorpusInfo(
    name="savee",
    title="SAVEE",
    language="English",
    licence="registration, research only",
    source="http://kahlan.eps.surrey.ac.uk/savee/",
    layout="AudioData/DC/a01.wav",
    counts={"angry": 60, "happy": 60, "neutral": 120, "sad": 60},
    speakers=4,
    notes="Common copies are flat: DC_a01.wav.",
)

_EMOTIONS = {
    "a": "angry",
    "d": "disgust",
    "f": "fearful",
    "h": "happy",
    "n": "neutral",
    "sa": "sad",
    "su": "surprised",
}


def utterances(files: AudioFiles, report: Report) -> Iterator[Utterance]:
    """Speaker by folder (``DC/a01``) or by name (``DC_a01``); the key is ``DC_a01`` in both."""

    def flat_name(path: Path) -> str:
        folder = Path(files.name(path)).parent.name  # never one above the root
        return path.stem if "_" in path.stem else f"{folder}_{path.stem}"

    for match, path in files.matching(r"(DC|JE|JK|KL)_(a|d|f|h|n|sa|su)\d\d", report, key=flat_name):
        speaker, emotion = match[1].upper(), match[2].lower()
        yield Utterance(f"{speaker}_{match[0][3:].lower()}", path, speaker, _EMOTIONS[emotion], "M")
