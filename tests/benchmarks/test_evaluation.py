import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from benchmarks.evaluation import score, uar, uar_interval

LABELS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=4, max_size=60)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(LABELS)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_uar_is_the_mean_recall_of_the_classes_that_are_there(pairs):
    truth, predicted = np.array(pairs).T
    recalls = [np.mean(predicted[truth == label] == label) for label in set(truth.tolist())]
    assert uar(truth, predicted) == pytest.approx(100 * np.mean(recalls))
    assert uar(truth, predicted) == pytest.approx(100 * balanced_accuracy_score(truth, predicted))


def test_a_class_that_nobody_says_does_not_change_the_uar_whatever_is_predicted():
    assert uar([0, 0, 1, 1], [0, 3, 1, 2]) == pytest.approx(50.0)


def test_pooled_and_fold_mean_uar_differ_where_folds_lack_classes():
    found = score([([0, 0, 0, 1], [0, 0, 0, 2]), ([1, 1, 1, 1], [1, 1, 1, 1])])
    assert found.uar == pytest.approx(100 * (1 + 4 / 5) / 2)
    assert found.fold_uar == pytest.approx(75.0)
    assert found.fold_std == pytest.approx(np.std([50, 100], ddof=1))
    assert found.confusion == [[3, 0, 0, 0], [0, 4, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert found.accuracy == pytest.approx(100 * 7 / 8)
    assert np.isnan(found.recalls[2])


def test_one_fold_has_no_deviation():
    assert np.isnan(score([([0, 1, 2, 3], [0, 1, 2, 2])]).fold_std)


def test_the_interval_agrees_with_a_bootstrap_written_out():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 4, 200)
    predicted = np.where(rng.random(200) < 0.6, truth, rng.integers(0, 4, 200))
    resamples = (rng.integers(0, 200, 200) for _ in range(2000))
    expected = np.percentile([uar(truth[chosen], predicted[chosen]) for chosen in resamples], [2.5, 97.5])
    assert uar_interval(truth, predicted) == pytest.approx(expected, abs=0.8)


def test_the_interval_is_the_same_for_the_same_seed():
    truth, predicted = np.array([0, 1, 2, 3] * 5), np.array([0, 1, 2, 2] * 5)
    assert uar_interval(truth, predicted, seed=3) == uar_interval(truth, predicted, seed=3)
    assert np.isnan(uar_interval(truth[:1], predicted[:1])).all()
