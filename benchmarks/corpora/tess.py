"""TESS: two Canadian actresses, 26 and 64 years old, "Say the word ..." (Dupuis and Pichora-Fuller, 2010)."""

from collections.abc import Iterator

from benchmarks.corpora.audio_files import AudioFiles
from benchmarks.corpora.base import CorpusInfo, Report, Utterance

INFO = CorpusInfo(
    name="tess",
    title="TESS",
    language="English",
    licence="CC BY-NC-ND 4.0",
    source="https://doi.org/10.5683/SP2/E8H2MF",
    layout="OAF_angry/OAF_back_angry.wav",
    counts={"angry": 400, "happy": 400, "neutral": 400, "sad": 400},
    speakers=2,
    notes="Two speakers: no validation speaker is left beside a test speaker. The release has one name cut short, "
    "OA_bite_neutral, and one file at 96 kHz.",
)

_EMOTIONS = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fearful",
    "happy": "happy",
    "neutral": "neutral",
    "sad": "sad",
    "ps": "surprised",
    "pleasant_surprise": "surprised",
    "pleasant_surprised": "surprised",
}


def utterances(files: AudioFiles, report: Report) -> Iterator[Utterance]:
    """Speaker (older or younger female), word, emotion; ``ps`` is pleasant surprise; case differs among copies."""
    for match, path in files.matching(rf"(OAF?|YAF)_([a-z-]+)_({'|'.join(_EMOTIONS)})", report):
        speaker, word = match[1].upper(), match[2].lower()
        key = f"{speaker}_{word}_{match[3].lower()}"
        speaker = "OAF" if speaker == "OA" else speaker
        yield Utterance(key, path, speaker, _EMOTIONS[match[3].lower()], "F", text=word)
