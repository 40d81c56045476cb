"""ASED: 65 speakers of Amharic, acted (Retta et al., 2022)."""

from collections.abc import Iterator

from benchmarks.corpora.audio_files import AudioFiles
from benchmarks.corpora.base import CorpusInfo, Report, Utterance

INFO = CorpusInfo(
    name="ased",
    title="ASED",
    language="Amharic",
    licence="see the source",
    source="https://github.com/Ethio2021/ASED_V1",
    layout="05Angry/a5-07-02-02-65.wav",
    counts={"angry": 486, "happy": 486, "neutral": 522, "sad": 470},
    speakers=64,
    notes="Five speakers have one file with the digit of the other sex; four pairs of files are byte-identical.",
    warning="Something other than the voice gives its classes away: a frozen encoder of speech scores 99 on unseen "
    "speakers, the duration of the files alone 77 and the sentence alone 78, as "
    "--shortcuts shows. No number within ASED means anything, and a model trained on it learns the artefact; test on it "
    "across corpora.",
)

_EMOTIONS = {"n": "neutral", "f": "fearful", "h": "happy", "s": "sad", "a": "angry"}
_SEXES = {"01": "F", "02": "M"}  # the numbers of the 25 women and 40 men
_SHARED = frozenset({"06", "07"})
"""The sentences that are spoken in every emotion; 01 to 05 are others in each."""


def utterances(files: AudioFiles, report: Report) -> Iterator[Utterance]:
    """The emotion's letter and number, sentence, take, sex, speaker."""
    for match, path in files.matching(r"([nfhsa])\d-(\d\d)-\d\d-(\d\d)-(\d\d)", report):
        key = match[0].lower()
        emotion, sentence, sex, speaker = match.groups()
        label = _EMOTIONS[emotion.lower()]
        text = sentence if sentence in _SHARED else f"{label} {sentence}"
        yield Utterance(key, path, speaker, label, _SEXES.get(sex), text=text)
