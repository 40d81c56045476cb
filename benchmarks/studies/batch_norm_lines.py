"""The lines of the study of batch norm: one training each, as :mod:`benchmarks.studies.batch_norm` writes and reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.output.files import read_lines, write_lines
from benchmarks.output.typed_json import from_json, to_json
from benchmarks.training import TrainingSettings


@dataclass(frozen=True)
class Choice:
    """What a command compares: the kinds of training that differ in one of these."""

    method: str
    """``"baseline"`` or ``"dsnet"``."""

    neutral: str
    """The statistics of DSNet's neutral pass, a key of ``CHOICES``."""

    encoder: str
    """``"cnn"``, the paper's, or ``"linear"``."""

    dropout: float
    """The rate of dropout between the CNN's blocks."""


@dataclass(frozen=True)
class EpochScores:
    """The UARs after one epoch, in percent."""

    validation: float
    """The validation group's, by which the epoch is chosen."""

    test: Mapping[str, float]
    """The test group's, by the statistics that the same weights were given."""


@dataclass(frozen=True)
class TrainingLine:
    """A finished training."""

    method: str
    """See :class:`Choice`, as for the next three."""

    neutral: str
    """See :class:`Choice`."""

    encoder: str
    """See :class:`Choice`."""

    dropout: float
    """See :class:`Choice`."""

    group: int
    """The number of the group that tests, from 0."""

    seed: int
    """The seed of the training."""

    frames: int
    """The frames of 10 ms of an utterance."""

    budget: int
    """The number of epochs."""

    epochs: Sequence[EpochScores]
    """The scores of each epoch, in order."""

    truth: Sequence[int]
    """The classes of the test group's utterances."""

    predicted: Sequence[int]
    """The classes predicted for them in the chosen epoch."""

    training_seconds: float
    """The time of all epochs' training."""

    statistics_seconds: float
    """The time of the suite's statistics after all epochs."""

    statistics_utterances: int
    """The number of utterances that the suite's statistics were computed of."""

    environment: Mapping[str, object]
    """What it was computed with, as the release that wrote the line said it."""

    def __post_init__(self) -> None:
        kinds = {kind for epoch in self.epochs for kind in epoch.test}
        if (
            not kinds
            or (len(kinds) > 1 and "all" not in kinds)
            or any(epoch.test.keys() != kinds for epoch in self.epochs)
        ):
            raise ValueError(
                "epochs have not one kind of statistics in test each, or the same ones with 'all' among them"
            )

    @property
    def choice(self) -> Choice:
        """What kind of training it is."""
        return Choice(self.method, self.neutral, self.encoder, self.dropout)

    def is_of(self, choice: Choice, group: int, settings: TrainingSettings) -> bool:
        """Whether this is the training of a kind on a group, with the same seed, frames and number of epochs."""
        asked = choice, group, settings.seed, settings.max_frames, settings.epochs
        return asked == (self.choice, self.group, self.seed, self.frames, self.budget)


def read_trainings(path: Path) -> list[TrainingLine]:
    """The finished trainings in a file; none where there is no file.

    Raises:
        CheckpointError: a line is damaged, or not of this study.
    """
    remedy = "delete the line to train it again"
    return [from_json(TrainingLine, line, f"{path}:{i}", remedy) for i, line in enumerate(read_lines(path), 1)]


def add_training(path: Path, line: TrainingLine) -> None:
    """Adds a finished training to a file; the lines before it stay as they are."""
    write_lines(path, [*read_lines(path), to_json(line)])
