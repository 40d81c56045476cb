"""Speaker-independent protocols: who trains, who validates, who is tested (section 4.3)."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.corpora import Utterance
from benchmarks.errors import SplitError


@dataclass(frozen=True)
class Fold:
    """One split: indices into the list of utterances it was made from.

    ``number`` counts folds from 0 in the order of the test speakers' names.
    """

    number: int
    test_speaker: str
    validation_speaker: str
    train: list[int]
    validation: list[int]
    test: list[int]


def check_disjoint(fold: Fold, utterances: Sequence[Utterance]) -> None:
    """Refuses a split in which a speaker stands on two sides, or a side is empty.

    Raises:
        SplitError: names the speakers and the sides.
    """
    sides = {name: {utterances[i].speaker for i in getattr(fold, name)} for name in ("train", "validation", "test")}
    for name, speakers in sides.items():
        if not speakers:
            raise SplitError(f"fold {fold.number}: no {name} utterance; expected at least one speaker on each side")
    for a, b in (("train", "validation"), ("train", "test"), ("validation", "test")):
        if shared := sorted(sides[a] & sides[b]):
            raise SplitError(
                f"fold {fold.number}: {', '.join(shared)} in {a} and in {b}; a speaker may stand on one side only"
            )


def leave_one_speaker_out(utterances: Sequence[Utterance]) -> list[Fold]:
    """One fold a speaker, in the order of their names.

    The validation speaker is the test speaker's partner in a session of two (IEMOCAP, MSP-IMPROV); in a corpus without
    such sessions, the next speaker by name, the first after the last. All others train.

    Raises:
        SplitError: fewer than three speakers.
    """
    speakers = sorted({utterance.speaker for utterance in utterances})
    if len(speakers) < 3:
        raise SplitError(
            f"{len(speakers)} speakers ({', '.join(speakers)}): leaving one speaker out needs at least 3, one to test, "
            "one to validate, one to train"
        )
    folds = []
    for number, test in enumerate(speakers):
        validation = _partner(test, utterances) or speakers[(number + 1) % len(speakers)]
        sides: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
        for i, utterance in enumerate(utterances):
            side = {test: "test", validation: "validation"}.get(utterance.speaker, "train")
            sides[side].append(i)
        fold = Fold(number, test, validation, **sides)
        check_disjoint(fold, utterances)
        folds.append(fold)
    return folds


def _partner(speaker: str, utterances: Sequence[Utterance]) -> str | None:
    """The other speaker of a session of exactly two; None where there is no such session."""
    sessions = {utterance.session for utterance in utterances if utterance.speaker == speaker}
    if len(sessions) != 1 or None in sessions:
        return None
    others = {u.speaker for u in utterances if u.session in sessions} - {speaker}
    return others.pop() if len(others) == 1 else None


def select_folds(folds: Sequence[Fold], wanted: str) -> list[Fold]:
    """The folds named by ``"all"`` or by numbers such as ``"0,3"``.

    Raises:
        SplitError: not numbers, or a number that no fold has.
    """
    if wanted == "all":
        return list(folds)
    try:
        numbers = sorted({int(number) for number in wanted.split(",")})
    except ValueError:
        numbers = [-1]
    if numbers[0] < 0 or numbers[-1] >= len(folds):
        raise SplitError(
            f"--folds {wanted}: expected 'all' or numbers from 0 to {len(folds) - 1}, such as 0,{len(folds) - 1}"
        )
    return [folds[number] for number in numbers]
