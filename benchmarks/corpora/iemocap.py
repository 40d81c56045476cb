"""IEMOCAP: 10 actors in five dyadic sessions, scripted and improvised (Busso et al., LRE 2008)."""

from collections.abc import Iterator

from benchmarks.corpora.audio_files import AudioFiles
from benchmarks.corpora.base import CorpusInfo, Report, Utterance
from benchmarks.corpora.label_files import read_label_lines

INFO = CorpusInfo(
    name="iemocap",
    title="IEMOCAP",
    language="English",
    licence="USC release form, on request, research only",
    source="https://sail.usc.edu/iemocap/",
    layout="Session1/sentences/wav/Ses01F_impro04/Ses01F_impro04_M012.wav",
    labels="Session1/dialog/EmoEvaluation/Ses01F_impro04.txt",
    counts={"angry": 1103, "happy": 1636, "neutral": 1708, "sad": 1084},
    speakers=10,
    notes="Excited counts as happy. The speaker is in the last part of a name; the prefix (Ses01F) says who wore the "
    "motion-capture markers.",
)

_EMOTIONS = {
    "neu": "neutral",
    "hap": "happy",
    "exc": "happy",
    "sad": "sad",
    "ang": "angry",
    "fru": "frustrated",
    "sur": "surprised",
    "fea": "fearful",
    "dis": "disgust",
    "oth": "other",
    "xxx": "no agreement",
}

# Only this folder's files count: its sub-folders hold single raters' files with lines of the same form.
_LABEL_FILES = r"EmoEvaluation/[^/]+\.txt"
_LABEL_LINE = r"\[[\d.]+ - [\d.]+\]\s+(?P<key>(?P<session>Ses\d\d)[FM]_\w+_(?P<sex>[FM])\w+)\s+(?P<code>\w+)\s+\[.*"


def utterances(files: AudioFiles, report: Report) -> Iterator[Utterance]:
    """Label lines start with ``[``; the speaker is the session and the letter of the name's last part.

    Raises:
        CorpusError: a label line of another form, or an emotion code that the release does not have.
    """
    documents = files.documents(_LABEL_FILES)
    lines = [line for document in documents for line in read_label_lines(document, "[", _LABEL_LINE, _EMOTIONS)]
    # The release also holds each dialog in one piece, under the name of its label file.
    dialogs = {document.stem for document in documents}
    audio = files.listed((match["key"] for match, _ in lines), report, aside=dialogs)
    if excited := sum(match["code"] == "exc" for match, _ in lines):
        report.remarks.append(f"{excited:,} excited utterances count as happy")
    for match, label in lines:
        key, session, sex = match["key"], match["session"], match["sex"]
        yield Utterance(key, audio[key], session + sex, label, sex, session)
