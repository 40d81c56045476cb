"""A method's predictions for a corpus' test utterances, in the one form that every comparison takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpora import EMOTIONS
from benchmarks.errors import RunError

_DIGITS = "".join(map(str, range(len(EMOTIONS))))


@dataclass(frozen=True)
class SpeakerRecord:
    """A speaker's test utterances: what they are and what a method says they are.

    Raises:
        ValueError: truth and prediction are not as many digits, each an index into ``EMOTIONS``.
    """

    sex: str | None
    """``"F"``, ``"M"``, or None where it is not known."""

    truth: str
    """One digit an utterance, the index of its class in ``EMOTIONS``, in the order of the utterances' keys."""

    predicted: str
    """The same of the predictions."""

    def __post_init__(self) -> None:
        if not self.truth or len(self.truth) != len(self.predicted) or set(self.truth + self.predicted) - set(_DIGITS):
            raise ValueError(
                f"truth {self.truth[:20]!r} ({len(self.truth)}), predicted {self.predicted[:20]!r} "
                f"({len(self.predicted)}); expected as many digits, of {_DIGITS}"
            )


@dataclass(frozen=True)
class Predictions:
    """R sets of predictions of one method for the same M test utterances.

    A replica is one complete set of predictions: of one seed when the folds of a corpus are pooled, of one fold's model
    and one seed when each model is tested on all of another corpus.

    Args:
        truth: labels, shape (M,), indices into ``EMOTIONS``.
        predicted: the same for each replica, shape (R, M).
        speaker: names, shape (M,).
        sex: ``"F"``, ``"M"`` or None of each speaker; a speaker may be absent.

    Raises:
        RunError: nothing in it, shapes that do not fit, or a label that is no class.
    """

    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    speaker: NDArray[np.str_]
    sex: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shapes = f"truth {self.truth.shape}, predicted {self.predicted.shape}, speaker {self.speaker.shape}"
        utterances = self.truth.shape
        if self.truth.ndim != 1 or self.predicted.shape[1:] != utterances or self.speaker.shape != utterances:
            raise RunError(f"predictions of shapes {shapes}; expected (M,), (R, M), (M,)")
        if self.predicted.size == 0:
            raise RunError(f"predictions of shapes {shapes}; expected at least one replica of one utterance")
        for name, labels in (("truth", self.truth), ("predicted", self.predicted)):
            if not np.isin(labels, range(len(EMOTIONS))).all():
                raise RunError(f"{name}: labels {labels.min()} to {labels.max()}; expected 0 to {len(EMOTIONS) - 1}")

    @classmethod
    def from_records(cls, replicas: Sequence[Mapping[str, SpeakerRecord]]) -> "Predictions":
        """Joins the replicas' records, each a ``SpeakerRecord`` by speaker.

        A speaker's utterances stand in the same order in all of them, the speakers in any: here they go by name.

        Raises:
            RunError: no record, or replicas of different utterances.
        """
        if not replicas:
            raise RunError("no predictions; expected the record of at least one replica")
        parts = [cls._from_record(record) for record in replicas]
        for part in parts[1:]:
            check_aligned(parts[0], part)
        predicted = np.concatenate([replica.predicted for replica in parts])
        return cls(parts[0].truth, predicted, parts[0].speaker, parts[0].sex)

    @classmethod
    def _from_record(cls, record: Mapping[str, SpeakerRecord]) -> "Predictions":
        speakers = dict(sorted(record.items()))
        truths, guesses = ([getattr(one, part) for one in speakers.values()] for part in ("truth", "predicted"))
        return cls(
            np.array([int(digit) for text in truths for digit in text], dtype=np.int64),
            np.array([[int(digit) for text in guesses for digit in text]], dtype=np.int64),
            np.repeat(np.array(list(speakers), dtype=np.str_), list(map(len, truths))),
            {name: one.sex for name, one in speakers.items()},
        )


def check_aligned(a: Predictions, b: Predictions) -> None:
    """Refuses to compare predictions of different utterances.

    Raises:
        RunError: names a speaker in whom they differ.
    """
    for name in sorted({*a.speaker.tolist(), *b.speaker.tolist()}):
        first, second = (predictions.truth[predictions.speaker == name] for predictions in (a, b))
        if not np.array_equal(first, second):
            seen = "other labels" if len(first) == len(second) else f"{len(first)} and {len(second)} utterances"
            raise RunError(f"speaker {name}: {seen}; predictions can be compared on the same utterances alone")
    if not np.array_equal(a.speaker, b.speaker):
        raise RunError("the same utterances in another order; predictions can be compared in the same order alone")
