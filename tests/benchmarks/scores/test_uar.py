import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from benchmarks.scores.predictions import Predictions
from benchmarks.scores.statistics import interval_over_utterances
from benchmarks.scores.uar import score, uar

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


def test_the_interval_is_of_the_pooled_utterances_and_of_the_seed():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 4, 120)
    predicted = np.where(rng.random(120) < 0.6, truth, rng.integers(0, 4, 120))
    folds = [(truth[:50], predicted[:50]), (truth[50:], predicted[50:])]
    pooled = Predictions(truth, predicted[None], np.array(["anna"] * 120))
    for seed in (3, 4):
        assert score(folds, seed).interval == interval_over_utterances(pooled, seed)
