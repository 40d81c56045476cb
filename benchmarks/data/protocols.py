"""Speaker-independent protocols: who trains, who validates, who is tested (section 4.3)."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

from benchmarks.corpora import Utterance
from benchmarks.errors import RunError, SplitError


@dataclass(frozen=True)
class Fold:
    """One split: indices into the list of utterances it was made from."""

    number: int
    """The number of the fold, from 0, in the order of the names of what is left out."""

    test_speakers: tuple[str, ...]
    """Who is tested, in the order of their names."""

    validation_speakers: tuple[str, ...]
    """Who validates, in the order of their names."""

    train: list[int]
    """The indices of the training utterances."""

    validation: list[int]
    """The indices of the validation utterances."""

    test: list[int]
    """The indices of the test utterances."""

    @property
    def test_speaker(self) -> str:
        """Who is tested, as records and lines of text say it: ``"Ses01F"``, ``"Ses01F+Ses01M"``."""
        return "+".join(self.test_speakers)

    @property
    def validation_speaker(self) -> str:
        """Who validates, in the same form."""
        return "+".join(self.validation_speakers)


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


_MOST_FOLDS = 1_000


class _Folds(Sequence[Fold]):
    """Folds that are made when they are asked for: all folds of 20,000 speakers would hold each utterance 20,000 times."""

    def __init__(self, make: Callable[[int], Fold], number: int) -> None:
        self._make = make
        self._numbers = range(number)

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, place: int) -> Fold: ...
    @overload
    def __getitem__(self, place: slice) -> list[Fold]: ...
    def __getitem__(self, place: int | slice) -> Fold | list[Fold]:
        """The fold of a number, or those of a slice of them."""
        if isinstance(place, slice):
            return [self._make(number) for number in self._numbers[place]]
        return self._make(self._numbers[place])


def leave_one_speaker_out(utterances: Sequence[Utterance]) -> Sequence[Fold]:
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
    groups = [utterance.speaker for utterance in utterances]
    partners = _partners(utterances)

    def leave_out(number: int) -> Fold:
        test = speakers[number]
        validation = partners.get(test) or speakers[(number + 1) % len(speakers)]
        return _leave_out(number, utterances, groups, test, validation)

    return _Folds(leave_out, len(speakers))


def leave_one_session_out(utterances: Sequence[Utterance]) -> list[Fold]:
    """One fold a session, in the order of their names: all its speakers test, those of the next session validate.

    After the last session comes the first. All others train.

    Raises:
        SplitError: fewer than three sessions, an utterance without one, or a speaker in two.
    """
    if without := [utterance.key for utterance in utterances if not utterance.session]:
        raise SplitError(
            f"{len(without)} of {len(utterances)} utterances have no session, such as {without[0]}; leaving one session "
            "out needs the session of each: leave one speaker out instead"
        )
    groups = [str(utterance.session) for utterance in utterances]
    sessions = sorted(set(groups))
    if len(sessions) < 3:
        raise SplitError(
            f"{len(sessions)} sessions ({', '.join(sessions)}): leaving one session out needs at least 3, one to test, "
            "one to validate, one to train"
        )
    return [
        _leave_out(number, utterances, groups, test, sessions[(number + 1) % len(sessions)])
        for number, test in enumerate(sessions)
    ]


def leave_one_group_out(utterances: Sequence[Utterance], number: int) -> list[Fold]:
    """One fold a group of whole speakers: a group tests, the next one validates, the first after the last; all others train.

    For corpora of many speakers with few utterances each. Speakers are dealt to the groups in turn, in the order of sex and
    name, so that each group has as many of either sex as another, give or take one.

    Args:
        utterances: of at least ``number`` speakers.
        number: how many groups, at least 3.

    Raises:
        SplitError: fewer than three groups, or fewer speakers than groups.
    """
    sexes = {utterance.speaker: utterance.sex or "" for utterance in utterances}
    speakers = sorted(sexes, key=lambda speaker: (sexes[speaker], speaker))
    if not 3 <= number <= len(speakers):
        raise SplitError(
            f"{number} groups of {len(speakers)} speakers; expected at least 3, one to test, one to validate, one to "
            "train, and no more than there are speakers"
        )
    group_of = {speaker: str(place % number) for place, speaker in enumerate(speakers)}
    groups = [group_of[utterance.speaker] for utterance in utterances]
    return [_leave_out(fold, utterances, groups, str(fold), str((fold + 1) % number)) for fold in range(number)]


PROTOCOLS = {
    "loso": "leave one speaker out",
    "session": "leave one session out",
    "groups-K": "leave one of K speaker groups out",
}
"""The protocols within one corpus, by the name that the command line takes; K is a number, as in ``groups-6``."""


def check_protocol(name: str) -> None:
    """Refuses a protocol that does not exist.

    Raises:
        RunError: says which ones there are.
    """
    if name not in ("loso", "session") and not _groups(name):
        raise RunError(
            f"protocol {name!r}; expected loso, session, or groups-K with a number of groups, such as groups-6"
        )


def describe_protocol(name: str) -> str:
    """The protocol in words: ``"leave one of 6 speaker groups out"``."""
    groups = _groups(name)
    return f"leave one of {groups} speaker groups out" if groups else PROTOCOLS[name]


def divide(utterances: Sequence[Utterance], protocol: str) -> Sequence[Fold]:
    """The folds of a corpus under a protocol.

    Raises:
        SplitError: the corpus cannot be divided so.
        RunError: no such protocol.
    """
    check_protocol(protocol)
    if groups := _groups(protocol):
        return leave_one_group_out(utterances, groups)
    return leave_one_speaker_out(utterances) if protocol == "loso" else leave_one_session_out(utterances)


def _groups(protocol: str) -> int | None:
    """How many speaker groups a protocol names; None where it names none."""
    match = re.fullmatch(r"groups-([1-9]\d{0,3})", protocol)
    return int(match[1]) if match else None


def _leave_out(number: int, utterances: Sequence[Utterance], groups: Sequence[str], test: str, validation: str) -> Fold:
    """The fold whose test and validation sides are the utterances of one group each (a speaker, a session)."""
    sides: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for i, group in enumerate(groups):
        sides[{test: "test", validation: "validation"}.get(group, "train")].append(i)
    fold = Fold(number, _speakers(sides["test"], utterances), _speakers(sides["validation"], utterances), **sides)
    check_disjoint(fold, utterances)
    return fold


def _speakers(side: Sequence[int], utterances: Sequence[Utterance]) -> tuple[str, ...]:
    return tuple(sorted({utterances[i].speaker for i in side}))


def _partners(utterances: Sequence[Utterance]) -> dict[str, str]:
    """The partner of each speaker who is in one session alone, where that has exactly two speakers."""
    sessions_of: dict[str, set[str | None]] = {}
    speakers_of: dict[str | None, set[str]] = {}
    for utterance in utterances:
        sessions_of.setdefault(utterance.speaker, set()).add(utterance.session)
        speakers_of.setdefault(utterance.session, set()).add(utterance.speaker)
    partners = {}
    for speaker, sessions in sessions_of.items():
        if len(sessions) == 1 and None not in sessions:
            others = speakers_of[next(iter(sessions))] - {speaker}
            if len(others) == 1:
                partners[speaker] = others.pop()
    return partners


def select_folds(folds: Sequence[Fold], wanted: str) -> list[Fold]:
    """The folds named by ``"all"`` or by numbers such as ``"0,3"``.

    Raises:
        SplitError: not numbers, a number that no fold has, or all of more than a thousand.
    """
    if wanted == "all" and len(folds) > _MOST_FOLDS:
        raise SplitError(f"{len(folds):,} folds, each a training: choose some with --folds, such as 0,1,2")
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
