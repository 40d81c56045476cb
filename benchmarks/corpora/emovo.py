"""EMOVO: six Italian actors, acted, fourteen sentences (Costantini et al., LREC 2014)."""

from collections.abc import Iterator

from benchmarks.corpora.audio_files import AudioFiles
from benchmarks.corpora.base import CorpusInfo, Report, Utterance

INFO = CorpusInfo(
    name="emovo",
    title="EMOVO",
    language="Italian",
    licence="free for research",
    source="http://voice.fub.it/activities/corpora/emovo/index.html",
    layout="f1/gio-f1-b1.wav",
    counts={"angry": 84, "happy": 84, "neutral": 84, "sad": 84},
    speakers=6,
)

_EMOTIONS = {
    "dis": "disgust",
    "gio": "happy",
    "neu": "neutral",
    "pau": "fearful",
    "rab": "angry",
    "sor": "surprised",
    "tri": "sad",
}


def utterances(files: AudioFiles, report: Report) -> Iterator[Utterance]:
    """The Italian word's first letters for the emotion, speaker with the sex, sentence."""
    for match, path in files.matching(rf"({'|'.join(_EMOTIONS)})-([fm][123])-([a-z]\d)", report):
        key = match[0].lower()
        emotion, speaker, sentence = key.split("-")
        yield Utterance(key, path, speaker, _EMOTIONS[emotion], speaker[0].upper(), text=sentence)
