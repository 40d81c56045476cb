"""The probes find what was planted, and nothing where nothing is; numbers against loops and scikit-learn's parts."""

import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import StratifiedKFold

from dsnet_plugin import ConfigError, DSNetError, PrecisionError, ShapeError, hsic, linear_probe

seeds = st.integers(0, 2**16)
PROPERTY = settings(deadline=None, max_examples=25, derandomize=True)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(rows, classes, seed=0):
    return torch.randint(classes, (rows,), generator=torch.Generator().manual_seed(seed))


def one_hot(targets):
    return torch.nn.functional.one_hot(targets).double()


# --- hsic -------------------------------------------------------------------------------------------------------------


def gaussian(rows):
    distances = [[math.dist(a, b) for b in rows] for a in rows]
    different = sorted(d for line in distances for d in line if d > 0)
    median = different[(len(different) - 1) // 2]
    return [[math.exp(-(d**2) / (2 * median**2)) for d in line] for line in distances]


def plain_hsic(k, m):
    """Equation 4 of Gretton et al. (2005) as three sums, without a centring matrix."""
    n = len(k)
    every = range(n)
    pairs = sum(k[i][j] * m[i][j] for i in every for j in every)
    triples = sum(k[i][j] * m[i][q] for i in every for j in every for q in every)
    apart = sum(map(sum, k)) * sum(map(sum, m))
    return (pairs - 2 * triples / n + apart / n**2) / (n - 1) ** 2


@pytest.mark.parametrize(("rows", "d", "e"), [(4, 1, 1), (7, 3, 2), (12, 5, 9)])
def test_hsic_equals_the_sums_written_out(rows, d, e):
    x, y = normal(rows, d, seed=1), normal(rows, e, seed=2) ** 3
    y[1] = y[0]  # equal rows do not count in the median
    k, m = gaussian(x.tolist()), gaussian(y.tolist())
    expected = plain_hsic(k, m) / math.sqrt(plain_hsic(k, k) * plain_hsic(m, m))
    assert hsic(x, y) == pytest.approx(expected, rel=1e-9)


@PROPERTY
@given(seeds, st.integers(4, 20), st.integers(1, 6), st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_hsic_is_symmetric_bounded_and_blind_to_scale_place_turn_and_order(seed, rows, width, scale, shift):
    x, y = normal(rows, width, seed=seed), normal(rows, 3, seed=seed + 1)
    found = hsic(x, y)
    assert 0 <= found <= 1
    turn = torch.linalg.qr(normal(width, width, seed=seed + 2)).Q
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    assert hsic(y, x) == pytest.approx(found, abs=1e-6)
    assert hsic(scale * x @ turn + shift, y) == pytest.approx(found, abs=1e-6)
    assert hsic(x, scale * y + shift) == pytest.approx(found, abs=1e-6)
    assert hsic(x[order], y[order]) == pytest.approx(found, abs=1e-6)


def test_hsic_of_features_with_themselves_is_1_and_with_a_constant_0():
    x = normal(30, 5)
    assert hsic(x, x) == pytest.approx(1)
    assert hsic(x, torch.full((30, 2), 7.0)) == 0
    assert hsic(torch.zeros(30, 5), x) == 0


def test_hsic_tells_dependence_that_no_correlation_shows():
    angle = 2 * math.pi * torch.rand(400, 1, generator=torch.Generator().manual_seed(0))
    x, y = angle.cos(), angle.sin()
    assert abs(np.corrcoef(x[:, 0], y[:, 0])[0, 1]) < 0.1
    floor = max(hsic(x, y[torch.randperm(400, generator=torch.Generator().manual_seed(s))]) for s in range(20))
    assert hsic(x, y) > 2 * floor


def test_hsic_with_labels_is_larger_for_the_subspace_that_holds_them():
    emotion = labels(300, 4)
    z_er = 3 * one_hot(emotion) + normal(300, 4, seed=1)
    assert hsic(z_er, one_hot(emotion)) > 0.3
    assert hsic(normal(300, 4, seed=2), one_hot(emotion)) < 0.05


def test_hsic_takes_half_precision_far_from_the_origin_and_gives_no_gradient():
    x = (normal(20, 4) * 8).round().half().requires_grad_()
    y = normal(20, 4, seed=1) + x.detach().double()
    assert hsic(x, y) == pytest.approx(hsic(x.detach().double(), y), abs=1e-12)
    assert hsic(x.detach().double() + 1e8, y) == pytest.approx(hsic(x, y), abs=1e-6)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (torch.zeros(5, 2), torch.zeros(6, 2)),
        (torch.zeros(3, 2), torch.zeros(3, 2)),
        (torch.zeros(5), torch.zeros(5, 2)),
        (torch.zeros(5, 2), torch.zeros(5, 2, 1)),
    ],
)
def test_hsic_refuses_what_are_not_two_matrices_of_four_rows_with_their_shapes(x, y):
    with pytest.raises(ShapeError) as caught:
        hsic(x, y)
    assert f"x has shape {tuple(x.shape)} and y {tuple(y.shape)}" in str(caught.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_refused(bad):
    x = normal(8, 2)
    x[3, 1] = bad
    with pytest.raises(PrecisionError, match="y: 1 numbers are NaN or infinite"):
        hsic(normal(8, 2), x)
    with pytest.raises(PrecisionError, match="features: 1 numbers"):
        linear_probe(x, [0, 1] * 4)


# --- linear probe -----------------------------------------------------------------------------------------------------


def test_a_planted_factor_is_found_and_an_independent_one_is_at_chance():
    emotion, speaker = labels(400, 4, seed=1), labels(400, 5, seed=2)
    features = torch.cat([4 * one_hot(emotion), torch.zeros(400, 12)], 1) + normal(400, 16, seed=3)
    found, absent = linear_probe(features, emotion), linear_probe(features, speaker)
    assert found.score > 90
    assert found.chance == 25
    assert absent.chance == 20
    assert absent.score == pytest.approx(20, abs=8)


def test_the_probe_is_tested_on_utterances_it_has_not_seen():
    """With more features than rows any labels can be learnt by heart, and only what is held out tells."""
    assert linear_probe(normal(200, 400), labels(200, 2)).score == pytest.approx(50, abs=10)


def expected_probe(features, targets, seed, folds):
    predicted = np.full(len(targets), -1)
    for train, test in StratifiedKFold(folds, shuffle=True, random_state=seed).split(features, targets):
        mean, deviation = features[train].mean(0), features[train].std(0)
        weight = len(train) / np.bincount(targets[train])[targets[train]]
        model = LogisticRegression(max_iter=5000)
        # Weights of the classes that are balanced have a mean of 1.
        model.fit((features[train] - mean) / deviation, targets[train], sample_weight=weight / weight.mean())
        predicted[test] = model.predict((features[test] - mean) / deviation)
    return 100 * recall_score(targets, predicted, average="macro")


@pytest.mark.parametrize(("seed", "folds"), [(0, 5), (3, 2)])
def test_the_score_is_the_mean_recall_of_folds_standardised_by_their_training_part(seed, folds):
    """An outlier makes the statistics of the parts differ, few of one class what each class weighs."""
    targets = np.array([0] * 60 + [1] * 20 + [2] * 10)
    features = normal(90, 6, seed=4).numpy() * 100 + targets[:, None] * 40
    features[0] *= 300
    found = linear_probe(torch.tensor(features), torch.tensor(targets), seed, folds)
    assert found.score == pytest.approx(expected_probe(features, targets, seed, folds), abs=1e-9)


def test_the_same_seed_gives_the_same_score_and_another_divides_otherwise():
    features, targets = normal(90, 4), labels(90, 3)
    scores = [linear_probe(features, targets, seed).score for seed in (0, 0, 1, 2, 3)]
    assert scores[0] == scores[1]
    assert len(set(scores)) > 1


@pytest.mark.filterwarnings("error")  # scikit-learn warns of a fit that is stopped short
def test_features_that_are_much_alike_are_fitted_to_the_end():
    few = normal(300, 100, seed=5) * torch.arange(1, 101).double() ** -2  # directions in which they differ
    targets = labels(300, 10, seed=6)
    features = few @ torch.linalg.qr(normal(100, 100, seed=7))[0]
    assert linear_probe(features, targets).score == pytest.approx(10, abs=8)


def test_names_serve_as_well_as_numbers():
    targets = labels(60, 3)
    features = 2 * one_hot(targets) + normal(60, 3)
    names = [["anna", "ben", "cleo"][i] for i in targets.tolist()]
    assert linear_probe(features, names) == linear_probe(features.float(), targets) == linear_probe(features, targets)


def test_a_class_with_few_utterances_makes_fewer_folds():
    features, targets = normal(32, 2), torch.tensor([0] * 30 + [1] * 2)
    assert linear_probe(features, targets, folds=5) == linear_probe(features, targets, folds=2)


def test_a_class_of_one_utterance_is_refused_by_name():
    with pytest.raises(ShapeError, match="class 'cleo' has 1 utterance"):
        linear_probe(normal(5, 2), ["anna", "anna", "ben", "ben", "cleo"])


@pytest.mark.parametrize(
    ("features", "targets", "seen"),
    [
        (torch.zeros(5, 2), [0, 0, 1, 1], r"\(5, 2\) and targets \(4,\)"),
        (torch.zeros(4), [0, 0, 1, 1], r"\(4,\) and targets \(4,\)"),
        (torch.zeros(4, 2), torch.zeros(4, 1), r"\(4, 2\) and targets \(4, 1\)"),
    ],
)
def test_what_is_not_a_matrix_with_a_target_a_row_is_refused_with_the_shapes(features, targets, seen):
    with pytest.raises(ShapeError, match=f"features have shape {seen}"):
        linear_probe(features, targets)


@pytest.mark.parametrize(("rows", "seen"), [(0, "0 class in 0 targets"), (4, "1 class in 4 targets")])
def test_fewer_than_two_classes_are_refused(rows, seen):
    with pytest.raises(ShapeError, match=f"{seen}; expected at least 2"):
        linear_probe(torch.zeros(rows, 2), [0] * rows)


def test_one_fold_is_refused():
    with pytest.raises(ConfigError, match="folds=1; expected at least 2"):
        linear_probe(normal(8, 2), [0, 1] * 4, folds=1)


def test_without_scikit_learn_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(DSNetError, match=r"pip install 'dsnet_plugin\[probes\]'"):
        linear_probe(normal(8, 2), [0, 1] * 4)
