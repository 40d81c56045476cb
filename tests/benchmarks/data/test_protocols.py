from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.corpora import Utterance
from benchmarks.data.protocols import (
    Fold,
    check_disjoint,
    describe_protocol,
    divide,
    leave_one_group_out,
    leave_one_session_out,
    leave_one_speaker_out,
    select_folds,
)
from benchmarks.errors import RunError, SplitError

IEMOCAP = [
    Utterance(f"Ses0{s}{sex}_{i}", Path(), f"Ses0{s}{sex}", "neutral", sex, f"Ses0{s}")
    for s in range(1, 6)
    for sex in "FM"
    for i in range(3)
]


def plain(*speakers):
    return [Utterance(f"{speaker}{i}", Path(), speaker, "sad") for i, speaker in enumerate(speakers)]


def test_in_a_session_of_two_the_partner_validates_and_eight_speakers_train():
    for fold in leave_one_speaker_out(IEMOCAP):
        assert fold.validation_speaker[:5] == fold.test_speaker[:5]
        assert fold.validation_speaker != fold.test_speaker
        assert len({IEMOCAP[i].speaker for i in fold.train}) == 8


def test_without_sessions_the_next_speaker_by_name_validates():
    folds = leave_one_speaker_out(plain("c", "a", "b", "a"))
    assert [(f.number, f.test_speaker, f.validation_speaker) for f in folds] == [
        (0, "a", "b"),
        (1, "b", "c"),
        (2, "c", "a"),
    ]


def test_groups_are_of_whole_speakers_with_as_many_of_either_sex_and_the_next_group_validates():
    actors = [
        Utterance(f"{name}{i}", Path(), f"{name:02d}", "sad", "FM"[name % 2]) for name in range(1, 13) for i in range(2)
    ]
    folds = leave_one_group_out(actors, 3)
    assert [fold.test_speakers for fold in folds] == [
        ("01", "02", "07", "08"),
        ("03", "04", "09", "10"),
        ("05", "06", "11", "12"),
    ]
    assert [fold.validation_speakers for fold in folds] == [folds[i].test_speakers for i in (1, 2, 0)]
    assert sorted(i for fold in folds for i in fold.test) == list(range(len(actors)))


@pytest.mark.parametrize("number", [2, 5])
def test_groups_that_cannot_be_made_are_refused(number):
    with pytest.raises(SplitError, match=f"{number} groups of 4 speakers; expected at least 3"):
        leave_one_group_out(plain("a", "b", "c", "d"), number)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.sampled_from([None, "1", "2", "3"])), min_size=3, max_size=40
    ).filter(lambda rows: len({speaker for speaker, _ in rows}) >= 3)
)
def test_every_utterance_stands_once_in_each_fold_and_is_tested_once(rows):
    utterances = [Utterance(str(i), Path(), speaker, "sad", None, session) for i, (speaker, session) in enumerate(rows)]
    folds = leave_one_speaker_out(utterances)
    for fold in folds:
        assert sorted(fold.train + fold.validation + fold.test) == list(range(len(utterances)))
        sides = [{utterances[i].speaker for i in side} for side in (fold.train, fold.validation, fold.test)]
        assert sum(map(len, sides)) == len(set().union(*sides))
    assert sorted(i for fold in folds for i in fold.test) == list(range(len(utterances)))


def test_a_session_is_tested_whole_and_the_next_validates_whole():
    folds = leave_one_session_out(IEMOCAP)
    assert [(f.number, f.test_speakers, f.validation_speakers) for f in folds] == [
        (n, (f"Ses0{n + 1}F", f"Ses0{n + 1}M"), (f"Ses0{v}F", f"Ses0{v}M")) for n, v in enumerate([2, 3, 4, 5, 1])
    ]
    for fold in folds:
        assert {IEMOCAP[i].speaker for i in fold.test} == set(fold.test_speakers)
        assert {IEMOCAP[i].speaker for i in fold.validation} == set(fold.validation_speakers)
        assert len({IEMOCAP[i].speaker for i in fold.train}) == 6


def test_a_record_names_all_speakers_of_a_side():
    fold = leave_one_session_out(IEMOCAP)[4]
    assert (fold.test_speaker, fold.validation_speaker) == ("Ses05F+Ses05M", "Ses01F+Ses01M")
    fold = leave_one_speaker_out(IEMOCAP)[0]
    assert (fold.test_speaker, fold.validation_speaker) == ("Ses01F", "Ses01M")


# A speaker's session follows from the speaker, so that nobody stands in two.
@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.lists(st.sampled_from("abcdefghij"), min_size=3, max_size=40), st.lists(st.sampled_from("1234"), min_size=10))
def test_every_session_is_tested_once_by_speakers_who_stand_nowhere_else(speakers, sessions):
    session = dict(zip("abcdefghij", sessions, strict=False))
    utterances = [Utterance(str(i), Path(), s, "sad", None, session[s]) for i, s in enumerate(speakers)]
    used = sorted({session[speaker] for speaker in speakers})
    if len(used) < 3:
        with pytest.raises(SplitError, match=rf"{len(used)} sessions \({', '.join(used)}\).*at least 3"):
            leave_one_session_out(utterances)
        return
    folds = leave_one_session_out(utterances)
    assert [{utterances[i].session for i in fold.test} for fold in folds] == [{name} for name in used]
    assert [{utterances[i].session for i in fold.validation} for fold in folds] == [{n} for n in used[1:] + used[:1]]
    for fold in folds:
        assert sorted(fold.train + fold.validation + fold.test) == list(range(len(utterances)))
        sides = [{utterances[i].speaker for i in side} for side in (fold.train, fold.validation, fold.test)]
        assert sum(map(len, sides)) == len(set().union(*sides))


def test_a_speaker_in_two_sessions_is_refused_by_name():
    twice = [*IEMOCAP, Utterance("x", Path(), "Ses01F", "sad", "F", "Ses03")]
    with pytest.raises(SplitError, match="Ses01F in train and in test"):
        leave_one_session_out(twice)


def test_an_utterance_without_a_session_is_refused_with_its_key():
    with pytest.raises(SplitError, match=r"2 of 32 utterances have no session, such as x0.*leave one speaker out"):
        leave_one_session_out([*IEMOCAP, *plain("x", "x")])


def test_protocols_are_found_by_name():
    folds = {name: len(divide(IEMOCAP, name)) for name in ("loso", "session", "groups-4", "groups-10")}
    assert folds == {"loso": 10, "session": 5, "groups-4": 4, "groups-10": 10}
    assert divide(IEMOCAP, "groups-4") == leave_one_group_out(IEMOCAP, 4)
    assert list(divide(IEMOCAP, "loso")) == list(leave_one_speaker_out(IEMOCAP))
    assert describe_protocol("groups-4") == "leave one of 4 speaker groups out"


@pytest.mark.parametrize(
    "name", ["", "group", "groups", "groups-", "groups-K", "groups-0", "groups--3", "groups-3.5", "LOSO"]
)
def test_a_protocol_that_does_not_exist_is_refused_with_those_that_do(name):
    with pytest.raises(RunError, match="expected loso, session, or groups-K with a number of groups, such as groups-6"):
        divide(IEMOCAP, name)


def test_a_speaker_on_two_sides_is_refused_by_name():
    with pytest.raises(SplitError, match="anna in train and in test"):
        check_disjoint(Fold(0, ("anna",), ("b",), [0, 3], [1], [2]), plain("anna", "b", "anna", "c"))


def test_two_speakers_are_too_few_to_leave_one_out():
    with pytest.raises(SplitError, match=r"2 speakers \(a, b\).*at least 3"):
        leave_one_speaker_out(plain("a", "b"))


def test_folds_are_chosen_by_number_in_order():
    folds = leave_one_speaker_out(IEMOCAP)
    assert select_folds(folds, "all") == list(folds)
    assert [fold.number for fold in select_folds(folds, "3,0")] == [0, 3]


@pytest.mark.parametrize("wanted", ["10", "-1", "first", "", "1,,2"])
def test_a_fold_that_is_not_there_is_refused_with_the_range(wanted):
    with pytest.raises(SplitError, match="numbers from 0 to 9"):
        select_folds(leave_one_speaker_out(IEMOCAP), wanted)


def test_one_fold_of_many_speakers_is_made_without_the_others(monkeypatch):
    made = []
    monkeypatch.setattr("benchmarks.data.protocols.check_disjoint", lambda fold, _: made.append(fold.number))
    folds = leave_one_speaker_out(plain(*(f"{number:04d}" for number in range(2_000))))
    assert (len(folds), made) == (2_000, [])
    (fold,) = select_folds(folds, "7")
    assert (fold.test_speaker, fold.validation_speaker, len(fold.train), made) == ("0007", "0008", 1_998, [7])
    assert [fold.number for fold in folds[5:7]] == [5, 6]
    assert folds[-1].validation_speaker == "0000"


def test_all_of_thousands_of_folds_are_refused_with_the_option_that_chooses():
    folds = leave_one_speaker_out(plain(*map(str, range(2_000))))
    with pytest.raises(SplitError, match=r"2,000 folds, each a training: choose some with --folds, such as 0,1,2"):
        select_folds(folds, "all")


def test_a_speaker_of_two_sessions_or_of_a_crowded_one_has_no_partner():
    spoken = [
        ("a", "1"),
        ("b", "1"),
        ("c", "2"),
        ("d", "2"),
        ("e", "2"),
        ("f", "3"),
        ("f", "4"),
        ("g", "4"),
        ("h", None),
    ]
    utterances = [
        Utterance(f"{i}", Path(), speaker, "sad", session=session) for i, (speaker, session) in enumerate(spoken)
    ]
    validation = {fold.test_speaker: fold.validation_speaker for fold in leave_one_speaker_out(utterances)}
    assert validation == {"a": "b", "b": "a", "c": "d", "d": "e", "e": "f", "f": "g", "g": "f", "h": "a"}
