"""RAVDESS: 24 North American actors, acted, two sentences (Livingstone and Russo, PLoS ONE 2018)."""

from collections.abc import Iterator

from benchmarks.corpora.audio_files import AudioFiles
from benchmarks.corpora.base import CorpusInfo, Report, Utterance

INFO = CorpusInfo(
    name="ravdess",
    title="RAVDESS (speech)",
    language="English",
    licence="CC BY-NC-SA 4.0",
    source="https://zenodo.org/records/1188976",
    layout="Actor_01/03-01-05-01-01-01-01.wav",
    counts={"angry": 192, "happy": 192, "neutral": 96, "sad": 192},
    speakers=24,
    notes="Video and song files (modality 01 or 02, channel 02) are not speech recordings and do not count. Two happy "
    "takes of Actor_07 are byte-identical; a few files are stereo.",
)

_EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}


def utterances(files: AudioFiles, report: Report) -> Iterator[Utterance]:
    """Modality 03 (audio only), channel 01 (speech): ``MM-VC-EM-IN-ST-RE-AC``; odd actors are male."""
    for match, path in files.matching(r"03-01-(0[1-8])-0[12]-(0[12])-0[12]-(\d\d)", report):
        emotion, statement, actor = match.groups()
        sex = "M" if int(actor) % 2 else "F"
        yield Utterance(match[0], path, actor, _EMOTIONS[emotion], sex, text=statement)
