import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import recall_score

from benchmarks.report.columns import columns, common_folds_and_seeds
from benchmarks.scores.statistics import mean_uar
from tests.benchmarks.report.records import Corpus, cell, read

# Speakers differ in their classes, so that pooling and averaging folds differ.
ALPHA = Corpus("alpha", counts=["00001123", "0011122233", "00112233333", "012300"])
BETA = Corpus("beta", speakers=3, each=4)


def cells(method, corpus, folds=range(4), seeds=range(2), **options):
    return [read(cell(method, corpus, fold, seed, **options), None) for seed in seeds for fold in folds]


def uar(lines):
    truth = [digit for line in lines for said in line.values() for digit in said.truth]
    predicted = [digit for line in lines for said in line.values() for digit in said.predicted]
    return 100 * recall_score(truth, predicted, average="macro")


def said(own, target):
    return own.record.tests[target].speakers


def test_within_a_corpus_the_folds_of_a_seed_are_pooled_before_scoring():
    own = cells("dsnet", ALPHA)
    (column,) = columns({"dsnet": own})
    expected = [uar([said(c, "alpha") for c in own if c.fold_and_seed[1] == seed]) for seed in range(2)]
    entry = column.entries["dsnet"]
    assert entry.uars == pytest.approx(expected)
    assert mean_uar(entry.predictions) == pytest.approx(np.mean(expected))
    assert entry.sd == pytest.approx(np.std(expected, ddof=1))


def test_the_fold_mean_is_the_mean_of_the_folds_own_uars():
    own = cells("dsnet", ALPHA)
    (column,) = columns({"dsnet": own})
    expected = [np.mean([uar([said(c, "alpha")]) for c in own if c.fold_and_seed[1] == seed]) for seed in range(2)]
    assert column.entries["dsnet"].fold_uars == pytest.approx(expected)
    assert expected != pytest.approx(column.entries["dsnet"].uars)


def test_across_corpora_every_folds_model_is_scored_on_all_and_the_scores_are_averaged():
    own = cells("dsnet", ALPHA, targets=(BETA,))
    _, column = columns({"dsnet": own})
    expected = [np.mean([uar([said(c, "beta")]) for c in own if c.fold_and_seed[1] == seed]) for seed in range(2)]
    assert (column.name, column.within) == ("alpha to beta", False)
    assert column.entries["dsnet"].uars == pytest.approx(expected)
    assert mean_uar(column.entries["dsnet"].predictions) == pytest.approx(np.mean(expected))
    assert column.entries["dsnet"].sd == pytest.approx(np.std(expected, ddof=1))


def test_one_seed_has_no_deviation():
    (column,) = columns({"dsnet": cells("dsnet", ALPHA, seeds=[3])})
    assert column.entries["dsnet"].sd is None


def test_corpora_come_before_pairs():
    rows = {"dsnet": cells("dsnet", ALPHA, targets=(BETA,)) + cells("dsnet", BETA, range(3), targets=(ALPHA,))}
    assert [column.name for column in columns(rows)] == ["alpha", "beta", "alpha to beta", "beta to alpha"]


def test_rows_are_compared_over_the_folds_and_seeds_that_all_have():
    full, part = cells("baseline", ALPHA), cells("dsnet", ALPHA, folds=(1, 3), seeds=(1,))
    (column,) = columns({"baseline": full, "dsnet": part})
    assert (column.folds, column.seeds) == ([1, 3], [1])
    assert (column.used, column.cells) == (4, 10)
    expected = uar([said(c, "alpha") for c in full if c.fold_and_seed in {(1, 1), (3, 1)}])
    assert column.entries["baseline"].uars == pytest.approx([expected])
    assert (column.tested, column.utterances, column.speakers) == (10 + 6, 8 + 10 + 11 + 6, 2)


def test_rows_without_a_common_cell_are_not_compared():
    (column,) = columns({"baseline": cells("baseline", ALPHA, seeds=[0]), "dsnet": cells("dsnet", ALPHA, seeds=[1])})
    assert (column.entries, column.used, column.cells) == ({}, 0, 8)


def test_a_row_that_never_saw_a_corpus_does_not_narrow_its_column():
    rows = {"baseline": cells("baseline", ALPHA), "dsnet": cells("dsnet", BETA, range(3))}
    assert [(c.name, list(c.entries), len(c.folds)) for c in columns(rows)] == [
        ("alpha", ["baseline"], 4),
        ("beta", ["dsnet"], 3),
    ]


def test_a_cell_without_the_test_on_another_corpus_is_left_out_of_that_column_alone():
    rows = {"dsnet": cells("dsnet", ALPHA, folds=(0, 1), targets=(BETA,)) + cells("dsnet", ALPHA, folds=(2, 3))}
    within, across = columns(rows)
    assert (within.folds, across.folds) == ([0, 1, 2, 3], [0, 1])
    assert (within.used, within.cells, across.used, across.cells) == (8, 8, 4, 4)


def test_chance_is_that_of_the_classes_that_are_tested():
    halved = Corpus("halved", counts=["0011", "0101", "1100"])
    (column,) = columns({"dsnet": cells("dsnet", halved, range(3))})
    assert column.chance == 50


def test_the_larger_grid_counts_where_one_seed_has_fewer_folds():
    done = {(fold, seed) for fold in range(10) for seed in range(2)}
    assert common_folds_and_seeds([done | {(0, 2), (1, 2)}, done | {(0, 2)}]) == (list(range(10)), [0, 1])
    assert common_folds_and_seeds([{(0, 0), (1, 0), (0, 1)}]) == ([0, 1], [0])
    assert common_folds_and_seeds([{(0, 0)}, {(0, 1)}]) == ([], [])


PLACES = st.sets(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1)


@settings(deadline=None, derandomize=True)
@given(st.lists(PLACES, min_size=1, max_size=3))
def test_what_is_compared_is_a_full_grid_that_every_row_has(places):
    folds, seeds = common_folds_and_seeds(places)
    grid = {(fold, seed) for fold in folds for seed in seeds}
    assert all(grid <= own for own in places)
    assert bool(grid) == bool(set.intersection(*places))
