"""MSP-IMPROV: 12 actors in six dyadic sessions, improvised around target sentences (Busso et al., IEEE TAC 2017)."""

from collections.abc import Iterator

from benchmarks.corpora.audio_files import AudioFiles
from benchmarks.corpora.base import CorpusInfo, Report, Utterance
from benchmarks.corpora.label_files import read_label_lines

INFO = CorpusInfo(
    name="msp-improv",
    title="MSP-IMPROV",
    language="English",
    licence="UT Dallas licence, on request, research only",
    source="https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Improv.html",
    layout="session1/S01A/S/MSP-IMPROV-S01A-F01-S-FM01.wav",
    labels="Evalution.txt",
    counts={"angry": 792, "happy": 2644, "neutral": 3477, "sad": 885},
    speakers=12,
    notes="The label is the raters' consensus in the label file; the letter in the name is only the target emotion.",
)

_EMOTIONS = {"A": "angry", "H": "happy", "N": "neutral", "S": "sad", "O": "other", "X": "no agreement"}

_LABEL_FILES = r"Evalua?tion\.txt"  # the release spells it without the a
_LABEL_LINE = (
    r"UTD-IMPROV-(?P<name>S\d\d[AHNS]-(?P<speaker>(?P<sex>[FM])0(?P<session>[1-6]))-[PRST]-[FM]{2}\d\d)\.avi"
    r"\s*;\s*(?P<code>\w+)\s*;.*"
)


def utterances(files: AudioFiles, report: Report) -> Iterator[Utterance]:
    """Label lines start with ``UTD-``; the speaker is the fourth field of the name, the session its number.

    Raises:
        CorpusError: a label line of another form, or a consensus that the release does not have.
    """
    documents = files.documents(_LABEL_FILES)
    lines = [line for document in documents for line in read_label_lines(document, "UTD-", _LABEL_LINE, _EMOTIONS)]
    audio = files.listed((f"MSP-IMPROV-{match['name']}" for match, _ in lines), report)
    for match, label in lines:
        key = f"MSP-IMPROV-{match['name']}"
        yield Utterance(key, audio[key], match["speaker"], label, match["sex"], match["session"])
