"""The record of a finished cell: what it holds, and the files that it is in.

A cell is one training of a grid: one method on one encoder, corpus, fold and seed. Its parts are defined where they arise,
:class:`~benchmarks.training.identity.TrainingIdentity` and :class:`~benchmarks.training.story.TrainingStory` in the training,
:class:`~benchmarks.scores.probing.Probes` and :class:`~benchmarks.scores.predictions.SpeakerRecord` among the scores,
:class:`~benchmarks.output.environment.Environment` in the output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Any, TypedDict

from torch import Tensor

from benchmarks.data import SpeechData
from benchmarks.output.environment import Environment
from benchmarks.output.typed_json import from_json
from benchmarks.scores import Predictions, SpeakerRecord
from benchmarks.scores.probing import Probes
from benchmarks.scores.statistics import mean_uar
from benchmarks.training import CorpusIdentity, TrainingIdentity, TrainingStory
from dsnet_plugin import CheckpointError

VERSION = 3
"""The version of the record that this release writes, and the only one that it reads."""

RESULT_NAME = "result.json"
PREDICTIONS_NAME = "predictions.json"
SPACES_NAME = "spaces.safetensors"
TRAINING_SPACES_NAME = "training_spaces.safetensors"

_REMEDY = "delete it to compute the cell again, or take it from the release that wrote it"


class PredictionRow(TypedDict):
    """What ``predictions.json`` holds of one utterance."""

    key: str
    """The utterance's key in its corpus."""

    truth: int
    """The number of its class."""

    prediction: int
    """The number of the class of the highest probability."""

    probabilities: list[float]
    """The probability of each class."""


class SpacesRecord(TypedDict):
    """The JSON record beside the feature spaces of utterances, with an entry a row in each list."""

    kind: str
    """``"spaces"``."""

    emotion: list[int]
    """The numbers of the utterances' classes."""

    speaker: list[str]
    """The names of their speakers."""

    split: list[str]
    """``"train"``, ``"validation"`` or ``"test"``."""


@dataclass(frozen=True)
class CorpusTest:
    """What a cell's model says of test utterances of one corpus.

    Raises:
        ValueError: no speaker, or a UAR that is not that of the predictions.
    """

    corpus: CorpusIdentity
    """The corpus that the utterances are of."""

    uar: float
    """The unweighted average recall in percent, of the classes that there are."""

    speakers: Mapping[str, SpeakerRecord]
    """Truth and prediction of every tested utterance, by the speaker's name."""

    def __post_init__(self) -> None:
        if not self.speakers:
            raise ValueError("speakers is empty; expected at least one")
        uar = mean_uar(Predictions.from_records([self.speakers]))
        if not isclose(uar, self.uar, abs_tol=1e-6):
            raise ValueError(f"uar is {self.uar}, and that of the predictions {uar}")


@dataclass(frozen=True)
class CellRecord:
    """All that a finished cell is.

    Raises:
        ValueError: no test on the cell's own corpus, a test under another name than its corpus', a test on
            other utterances than those of the own corpus, or curves of another number of epochs than was asked for.
    """

    version: int
    """The version of this form, ``VERSION``."""

    folder: str
    """Where the cell's files are, relative to the run's folder: CORPUS/ENCODER/LABEL/seed-S/fold-NN."""

    label: str
    """How tables call the method with its settings."""

    adapts: bool
    """Whether utterances of the test speaker serve in training or inference (Table 2's column SA)."""

    identity: TrainingIdentity
    """Which training it is."""

    story: TrainingStory
    """How the training went."""

    tests: Mapping[str, CorpusTest]
    """The test side of the cell's own corpus, and other corpora as a whole, by their names in the run."""

    probes: Probes
    """What the feature spaces hold."""

    environment: Environment
    """What it was computed with."""

    def __post_init__(self) -> None:
        if self.identity.corpus.name not in self.tests:
            raise ValueError(f"tests lacks {self.identity.corpus.name}, which is trained on")
        if wrong := [name for name, test in self.tests.items() if test.corpus.name != name]:
            raise ValueError(f"tests.{wrong[0]} is of {self.tests[wrong[0]].corpus.name}")
        if self.own_test.corpus != self.identity.corpus:
            raise ValueError(f"tests.{self.identity.corpus.name}.corpus is not that of identity, which is trained on")
        if len(self.story.curves) != self.identity.settings.epochs:
            raise ValueError(
                f"story.curves has {len(self.story.curves)} epochs, and identity.settings {self.identity.settings.epochs}"
            )

    @property
    def own_test(self) -> CorpusTest:
        """The test on the corpus that is trained on."""
        return self.tests[self.identity.corpus.name]


def read_record(value: Any, where: str) -> CellRecord:
    """Reads the record that a line or a file holds.

    Args:
        value: the parsed JSON.
        where: the file, and the line's number where it has several.

    Raises:
        CheckpointError: another version, or not all that a finished cell has; the place is named.
    """
    if isinstance(value, dict) and value.get("version") != VERSION:
        version = value.get("version", "none")
        raise CheckpointError(
            f"{where}: a record of version {version}; this release reads version {VERSION}: {_REMEDY}"
        )
    return from_json(CellRecord, value, where, _REMEDY)


def score_speakers(data: SpeechData, indices: Sequence[int], probabilities: Tensor) -> dict[str, SpeakerRecord]:
    """Truth and prediction of utterances by speaker, in the order of the speakers' names and the utterances' keys.

    Args:
        data: the corpus.
        indices: M of its utterances.
        probabilities: the probability of each class, shape (M, classes).
    """
    predicted = dict(zip(indices, probabilities.argmax(1).tolist(), strict=True))
    by_speaker: dict[str, list[int]] = {}
    for index in sorted(indices, key=lambda index: data.utterances[index].key):
        by_speaker.setdefault(data.utterances[index].speaker, []).append(index)
    return {
        speaker: SpeakerRecord(
            sex=data.utterances[spoken[0]].sex,
            truth="".join(str(int(data.labels[index])) for index in spoken),
            predicted="".join(str(predicted[index]) for index in spoken),
        )
        for speaker, spoken in sorted(by_speaker.items())
    }
