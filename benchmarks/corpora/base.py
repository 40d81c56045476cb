"""What every corpus is: utterances, what is known of the release, and a report of all that was left out."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

EMOTIONS = ("angry", "happy", "neutral", "sad")
"""The paper's four classes, in the order of every label index, table and confusion matrix."""

SAMPLE_RATE = 16_000
"""``backbones.SAMPLE_RATE`` in Hz, for those who do without torch: files below it are said."""

EMOTION_COLORS = dict(zip(EMOTIONS, ("tab:blue", "tab:orange", "tab:green", "tab:red"), strict=True))
"""The paper's, in Figure 3."""


@dataclass(frozen=True)
class Utterance:
    """One labelled recording, or a part of one.

    A loader may give a ``path`` that is not there (a label file names it): :func:`benchmarks.corpora.loading.collect` reports it as missing.
    """

    key: str
    """Its name in the release; unique in the corpus."""
    path: Path
    """The audio file."""
    speaker: str
    """Who speaks, truly."""
    label: str
    """The emotion as a word: ``"angry"``."""
    sex: str | None = None
    """``"F"``, ``"M"`` or None where it is not known."""
    session: str | None = None
    """The recording session of a dyadic corpus."""
    text: str | None = None
    """What is said, by the release's code of the sentence or in words; None where it is not known."""
    start: float = 0.0
    """Where in the file it begins, in seconds."""
    end: float | None = None
    """Where in the file it ends, in seconds; None is the end of the file."""


@dataclass(frozen=True)
class CorpusInfo:
    """What is known of a release."""

    name: str
    """What ``load_corpus`` and the command line call it."""
    title: str
    """Its name in print."""
    language: str
    """What is spoken."""
    licence: str
    """Who may use it."""
    source: str
    """Where it is from."""
    layout: str
    """An example of its audio paths."""
    counts: dict[str, int]
    """The expected utterances of each of the four classes; ``{}`` where nobody can know."""
    speakers: int
    """How many speakers have them; 0 where nobody can know."""
    labels: str = ""
    """An example of its label files; "" where names carry the labels."""
    notes: str = ""
    """What is worth knowing before it is used."""
    warning: str = ""
    """Why results on it mean less than they seem to."""


@dataclass
class Report:
    """Everything of a corpus that is not among its utterances, and why; and what is odd about those that are."""

    missing: list[str] = field(default_factory=list)
    """Utterances that a label file names, or a link, and whose audio is not there."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Audio that cannot be opened or has no samples, with the reason."""
    pointers: list[str] = field(default_factory=list)
    """What Git LFS or git-annex left in the place of audio that was not fetched."""
    dangling: list[str] = field(default_factory=list)
    """Links to files or folders that are not there: a data set that was not fetched."""
    duplicates: list[str] = field(default_factory=list)
    """Further files with a name seen before. Audio comes before what stands for it, then lossless formats come first."""
    unknown: list[str] = field(default_factory=list)
    """Audio files whose name is none of this corpus', or is in no label file."""
    skipped: Counter[str] = field(default_factory=Counter)
    """How many utterances have a label outside the classes, by label."""
    low_rate: dict[str, int] = field(default_factory=dict)
    """Used, but with fewer than 16,000 samples a second: their rate in Hz."""
    remarks: list[str] = field(default_factory=list)
    """What a person should know of the utterances that are used, a sentence each."""

    @property
    def absent(self) -> int:
        """How many utterances should be there and cannot be used."""
        return len(self.missing) + len(self.unreadable) + len(self.pointers)


@dataclass(frozen=True)
class Corpus:
    """A corpus as it lies on disk: the usable four-class utterances, sorted by key, and the report."""

    info: CorpusInfo
    root: Path
    utterances: list[Utterance]
    report: Report

    @property
    def speakers(self) -> list[str]:
        """The speakers' names, sorted."""
        return sorted({utterance.speaker for utterance in self.utterances})

    def counts(self) -> dict[str, int]:
        """The number of utterances of each of the four classes."""
        counter = Counter(utterance.label for utterance in self.utterances)
        return {emotion: counter[emotion] for emotion in EMOTIONS}
