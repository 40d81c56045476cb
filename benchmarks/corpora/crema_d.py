"""CREMA-D: 91 North American actors, acted, twelve sentences (Cao et al., IEEE TAC 2014)."""

from collections.abc import Iterator

from benchmarks.corpora.audio_files import AudioFiles
from benchmarks.corpora.base import CorpusInfo, Report, Utterance
from benchmarks.corpora.label_files import SEXES, read_table

INFO = CorpusInfo(
    name="crema-d",
    title="CREMA-D",
    language="English",
    licence="ODbL 1.0",
    source="https://github.com/CheyneyComputerScience/CREMA-D",
    layout="AudioWAV/1001_DFA_ANG_XX.wav",
    counts={"angry": 1271, "happy": 1271, "neutral": 1087, "sad": 1271},
    speakers=91,
    notes="1076_MTI_NEU and 1076_MTI_SAD are known bad recordings. A clone without Git LFS holds pointers, not audio: "
    "run git lfs pull. Sex is known where VideoDemographics.csv lies in the folder.",
)

_EMOTIONS = {
    "ANG": "angry",
    "DIS": "disgust",
    "FEA": "fearful",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}


def utterances(files: AudioFiles, report: Report) -> Iterator[Utterance]:
    """Actor, sentence, emotion, level; the release has one level cut short, 1040_ITH_SAD_X.

    Raises:
        CorpusError: a VideoDemographics.csv without the columns ActorID and Sex.
    """
    sexes: dict[str, str | None] = {}
    for document in files.documents(r"VideoDemographics\.csv")[:1]:  # further ones are copies
        sexes = {row["actorid"]: SEXES.get(row["sex"].lower()) for _, row in read_table(document, ("actorid", "sex"))}
    for match, path in files.matching(rf"1\d{{3}}_[A-Z]{{3}}_({'|'.join(_EMOTIONS)})_(?:LO|MD|HI|XX?)", report):
        key = match[0].upper()
        actor, sentence, emotion, _ = key.split("_")
        yield Utterance(key, path, actor, _EMOTIONS[emotion], sexes.get(actor), text=sentence)
