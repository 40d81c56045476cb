"""CASIA: four Mandarin speakers, acted (Institute of Automation, Chinese Academy of Sciences, 2005)."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.corpora.audio_files import AudioFiles
from benchmarks.corpora.base import CorpusInfo, Report, Utterance

INFO = CorpusInfo(
    name="casia",
    title="CASIA",
    language="Mandarin",
    licence="on request, research only",
    source="http://www.chineseldc.org/",
    layout="liuchanhg/angry/201.wav",
    counts={"angry": 200, "happy": 200, "neutral": 200, "sad": 200},
    speakers=4,
    notes="The part that is passed around: 50 sentences of each speaker in six emotions, 1,200 files. Speaker and emotion "
    "are the names of folders.",
)

_EMOTIONS = {
    "angry": "angry",
    "fear": "fearful",
    "happy": "happy",
    "neutral": "neutral",
    "sad": "sad",
    "surprise": "surprised",
}
_SEXES = {"liuchanhg": "F", "wangzhe": "M", "zhaoquanyin": "F", "zhaozuoxiang": "M"}


def utterances(files: AudioFiles, report: Report) -> Iterator[Utterance]:
    """The two folders around a file, below the root; the name is the sentence's number."""

    def place(path: Path) -> str:
        return "/".join(Path(files.name(path)).with_suffix("").parts[-3:])

    pattern = rf"({'|'.join(_SEXES)})/({'|'.join(_EMOTIONS)})/(\d+)"
    for match, path in files.matching(pattern, report, key=place):
        key = match[0].lower()
        speaker, emotion, sentence = key.split("/")
        yield Utterance(key, path, speaker, _EMOTIONS[emotion], _SEXES[speaker], text=sentence)
