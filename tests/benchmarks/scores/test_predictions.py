import numpy as np
import pytest

from benchmarks.errors import RunError
from benchmarks.scores.predictions import Predictions, SpeakerRecord, check_aligned


def record(truth, predicted, sex=None):
    return SpeakerRecord(sex, truth, predicted)


def arrays(truth, speaker, predicted=None):
    truth = np.array(truth)
    return Predictions(truth, np.array(predicted) if predicted else truth[None], np.array(speaker))


def test_records_are_joined_by_speaker_whatever_their_order():
    first = {"ben": record("01", "02", "M"), "anna": record("323", "321", "F")}
    second = {"anna": record("323", "000"), "ben": record("01", "11")}
    found = Predictions.from_records([first, second])
    assert found.speaker.tolist() == ["anna"] * 3 + ["ben"] * 2
    assert found.truth.tolist() == [3, 2, 3, 0, 1]
    assert found.predicted.tolist() == [[3, 2, 1, 0, 2], [0, 0, 0, 1, 1]]
    assert found.sex == {"anna": "F", "ben": "M"}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"anna": record("0123", "0123")}, "speaker ben: 2 and 0 utterances"),
        ({"anna": record("0123", "0123"), "ben": record("012", "012")}, "speaker ben: 2 and 3 utterances"),
        ({"anna": record("0132", "0123"), "ben": record("01", "01")}, "speaker anna: other labels"),
    ],
)
def test_replicas_of_different_utterances_are_refused_by_the_speakers_name(second, message):
    first = {"anna": record("0123", "0000"), "ben": record("01", "00")}
    with pytest.raises(RunError, match=message):
        Predictions.from_records([first, second])


@pytest.mark.parametrize(
    ("truth", "predicted"), [("012", "01"), ("014", "011"), ("011", "01 "), ("0a1", "011"), ("", "")]
)
def test_what_is_no_row_of_labels_is_refused(truth, predicted):
    with pytest.raises(ValueError, match=r"truth .* predicted .*expected as many digits, of 0123"):
        record(truth, predicted)


def test_no_replica_and_no_utterance_are_refused():
    with pytest.raises(RunError, match="at least one replica"):
        Predictions.from_records([])
    with pytest.raises(RunError, match="at least one replica of one utterance"):
        Predictions.from_records([{}])


@pytest.mark.parametrize(
    ("truth", "predicted", "speaker"),
    [
        ([0, 1], [0, 1], ["a", "a"]),
        ([0, 1], [[0, 1, 2]], ["a", "a"]),
        ([0, 1], [[0, 1]], ["a"]),
        ([[0, 1]], [[[0, 1]]], [["a", "a"]]),
    ],
)
def test_shapes_that_do_not_fit_are_refused(truth, predicted, speaker):
    with pytest.raises(RunError, match=r"expected \(M,\), \(R, M\), \(M,\)"):
        arrays(truth, speaker, predicted)


@pytest.mark.parametrize(
    ("truth", "predicted", "name"), [([0, 4], [[0, 1]], "truth"), ([0, 1], [[0, -1]], "predicted")]
)
def test_a_label_that_is_no_class_is_refused(truth, predicted, name):
    with pytest.raises(RunError, match=f"{name}: labels .* expected 0 to 3"):
        arrays(truth, ["a", "a"], predicted)


def test_aligned_predictions_may_differ_in_all_but_the_utterances():
    a = arrays([0, 1, 2], ["a", "a", "b"])
    check_aligned(a, arrays([0, 1, 2], ["a", "a", "b"], [[3, 3, 3], [0, 0, 0]]))
    with pytest.raises(RunError, match="speaker a: other labels"):
        check_aligned(a, arrays([1, 0, 2], ["a", "a", "b"]))
    with pytest.raises(RunError, match="in another order"):
        check_aligned(a, arrays([2, 0, 1], ["b", "a", "a"]))
    with pytest.raises(RunError, match="speaker b: 1 and 0 utterances"):
        check_aligned(a, arrays([0, 1, 2], ["a", "a", "c"]))
