"""How a training went, epoch by epoch: what its curves are drawn from and its record keeps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """The numbers of one pass over the training speakers' utterances."""

    epoch: int
    """The number of the epoch, from 1."""

    train: Mapping[str, float]
    """The mean of each loss over the training utterances, by its name, without its weight; ``total`` is what is minimised."""

    validation: Mapping[str, float]
    """The same over the validation utterances, in evaluation mode; ``task`` and ``total`` are always there."""

    validation_uar: float
    """The validation utterances' UAR in percent."""

    gradient_norms: Mapping[str, float]
    """The norm of each loss' gradient on the encoder, in the first batch of every fifth epoch; else empty."""

    learning_rate: float
    """Adam's learning rate after the epoch."""

    @property
    def rank(self) -> tuple[float, float]:
        """The key that is largest for the best epoch: its validation UAR, then, among equals, its negative task loss."""
        return self.validation_uar, -self.validation["task"]


@dataclass(frozen=True)
class SideSizes:
    """The number of utterances on each side of a fold."""

    train: int
    """Utterances that the first epoch trains on: without neutral references and dropped speakers."""

    validation: int
    """Utterances that the epoch is chosen by."""

    test: int
    """Utterances that are tested."""


@dataclass(frozen=True)
class TrainingStory:
    """What there is to say of a finished training.

    Raises:
        ValueError: no epoch, epochs out of their order, or a best one that is none of them.
    """

    test_speaker: str
    """Who is tested; several names are joined by ``+``."""

    validation_speaker: str
    """Whose utterances the epoch is chosen by, in the same form."""

    utterances: SideSizes
    """How many utterances each side has."""

    references: Mapping[str, list[str]]
    """The keys of each training speaker's neutral references in the first epoch; empty for a method without."""

    best_epoch: int
    """The number of the epoch whose model is kept, from 1."""

    validation_uar: float
    """The validation utterances' UAR in percent in that epoch."""

    seconds: float
    """The time of the training in seconds, without time between a kill and the next start."""

    curves: Sequence[Epoch]
    """All epochs in their order."""

    def __post_init__(self) -> None:
        numbers = [epoch.epoch for epoch in self.curves]
        if numbers != list(range(1, len(numbers) + 1)) or self.best_epoch not in numbers:
            raise ValueError(f"the best epoch is {self.best_epoch}, of {len(numbers)}; expected epochs from 1 in order")
        if self.validation_uar != self.curves[self.best_epoch - 1].validation_uar:
            raise ValueError(f"validation_uar is {self.validation_uar}, which is not that of epoch {self.best_epoch}")
