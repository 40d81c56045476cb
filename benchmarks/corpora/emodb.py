"""EMO-DB: 10 German actors, ten sentences (Burkhardt et al., Interspeech 2005)."""

from collections.abc import Iterator

from benchmarks.corpora.audio_files import AudioFiles
from benchmarks.corpora.base import CorpusInfo, Report, Utterance

INFO = CorpusInfo(
    name="emodb",
    title="EMO-DB",
    language="German",
    licence="free to download; see the source",
    source="http://emodb.bilderbar.info/",
    layout="wav/03a01Fa.wav",
    counts={"angry": 127, "happy": 71, "neutral": 79, "sad": 62},
    speakers=10,
)

_EMOTIONS = {
    "W": "angry",
    "L": "boredom",
    "E": "disgust",
    "A": "fearful",
    "F": "happy",
    "T": "sad",
    "N": "neutral",
}
_MEN = frozenset({"03", "10", "11", "12", "15"})


def utterances(files: AudioFiles, report: Report) -> Iterator[Utterance]:
    """Speaker, sentence, the German word's first letter for the emotion, take."""
    for match, path in files.matching(r"(03|08|09|1[0-6])([ab]\d\d)([WLEAFTN])([a-z])", report):
        speaker, sentence, emotion, take = match[1], match[2].lower(), match[3].upper(), match[4].lower()
        key, sex = speaker + sentence + emotion + take, "M" if speaker in _MEN else "F"
        yield Utterance(key, path, speaker, _EMOTIONS[emotion], sex, text=sentence)
