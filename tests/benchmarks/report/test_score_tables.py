import numpy as np
import pytest
from sklearn.metrics import recall_score

from benchmarks.output.table import Interval, Number
from benchmarks.report.columns import columns
from benchmarks.report.score_tables import details_table, uar_table
from benchmarks.report.significance import against, against_baseline_and_best, marks, statistics_table
from benchmarks.scores.statistics import (
    Versus,
    holm,
    interval_over_speakers,
    interval_over_utterances,
    mean_uar,
    paired_permutation,
)
from tests.benchmarks.report.records import Corpus, cell, read

ALPHA = Corpus("alpha", speakers=8, each=6)
BETA = Corpus("beta", speakers=5, each=6)
HITS = {"baseline": 0.3, "dsc": 0.5, "isnet": 0.7, "dsnet": 0.95}


def cells(method, corpus=ALPHA, seeds=range(2), **options):
    folds = range(len(corpus.speakers))
    return [read(cell(method, corpus, f, s, HITS.get(method, 0.5), **options), None) for s in seeds for f in folds]


@pytest.fixture(scope="module")
def found():
    return columns({method: cells(method, targets=(BETA,)) for method in HITS})


@pytest.fixture(scope="module")
def verdicts(found):
    return {column.name: against_baseline_and_best(column) for column in found}


def pooled(method, seed):
    said = [c.record.tests["alpha"].speakers for c in cells(method, targets=(BETA,)) if c.fold_and_seed[1] == seed]
    truth = [digit for own in said for one in own.values() for digit in one.truth]
    predicted = [digit for own in said for one in own.values() for digit in one.predicted]
    return truth, predicted


def test_a_cell_of_table_2_has_mean_deviation_and_the_interval_over_speakers(found, verdicts):
    table = uar_table("x", "X", list(HITS), found, verdicts)
    assert table.header == ["method", "alpha", "alpha to beta"]
    for row, method in zip(table.rows, HITS, strict=True):
        by_seed = [100 * recall_score(*pooled(method, seed), average="macro") for seed in range(2)]
        assert row[0] == method
        assert row[1].value == pytest.approx(np.mean(by_seed))
        assert row[1].sd == pytest.approx(np.std(by_seed, ddof=1))
        assert row[1].interval == interval_over_speakers(found[0].entries[method].predictions)


def test_the_best_of_each_column_alone_is_bold(found, verdicts):
    table = uar_table("x", "X", list(HITS), found, verdicts)
    for place in (1, 2):
        assert [row[0] for row in table.rows if row[place].bold] == ["dsnet"]


def test_equals_are_both_bold_and_a_single_row_is_not():
    twins = columns({name: cells("dsnet") for name in ("a", "b")})
    table = uar_table("x", "X", ["a", "b"], twins, {"alpha": {}})
    assert [row[1].bold for row in table.rows] == [True, True]
    alone = columns({"a": cells("dsnet")})
    assert [row[1].bold for row in uar_table("x", "X", ["a"], alone, {"alpha": {}}).rows] == [False]


def test_chance_stands_below(found, verdicts):
    assert uar_table("x", "X", list(HITS), found, verdicts).foot == [["chance", Number(25.0), Number(25.0)]]


def test_the_column_sa_says_who_adapts(found, verdicts):
    adapts = {method: method == "dsc" for method in HITS}
    table = uar_table("x", "X", list(HITS), found, verdicts, adapts=adapts)
    assert [row[1] for row in table.rows] == ["no", "yes", "no", "no"]
    assert table.foot[0][:2] == ["chance", ""]


def test_what_is_left_out_is_said_above_the_table():
    rows = {"baseline": cells("baseline"), "dsnet": cells("dsnet", seeds=[0])[:3]}
    column = columns(rows)
    table = uar_table("x", "X", list(rows), column, {"alpha": against_baseline_and_best(column[0])})
    assert table.warnings == ["alpha: compared over the 3 folds and 1 seed that all 2 methods have, 6 of 19 cells."]
    assert table.notes == ["alpha: 3 folds and 1 seed, 72 of 192 utterances of 3 speakers."]


def test_a_complete_grid_has_no_warning(found, verdicts):
    assert uar_table("x", "X", list(HITS), found, verdicts).warnings == []


def test_without_a_common_cell_the_column_is_empty_and_it_is_said():
    rows = {"baseline": cells("baseline", seeds=[0]), "dsnet": cells("dsnet", seeds=[1])}
    table = uar_table("x", "X", list(rows), columns(rows), {"alpha": {}})
    assert [row[1] for row in (*table.rows, *table.foot)] == [None, None, None]
    assert "no fold and seed that all of baseline, dsnet have" in table.warnings[0]


def test_marks_stand_where_p_over_speakers_after_holm_is_small(found, verdicts):
    column = found[0]
    entries = column.entries
    others = [name for name in HITS if name != "baseline"]
    p = holm([paired_permutation(entries[n].predictions, entries["baseline"].predictions, "speaker") for n in others])
    assert [("*" in marks(verdicts["alpha"], name)) for name in others] == [value <= 0.05 for value in p]
    rivals = [name for name in HITS if name != "isnet"]
    p = holm([paired_permutation(entries[n].predictions, entries["isnet"].predictions, "speaker") for n in rivals])
    assert [("†" in marks(verdicts["alpha"], name)) for name in rivals] == [value <= 0.05 for value in p]
    assert marks(verdicts["alpha"], "dsnet") == "*†"
    assert marks(verdicts["alpha"], "isnet") == "*"


def test_a_p_value_over_utterances_alone_earns_no_mark():
    assert marks({"dsnet": {"*": Versus("baseline", 9.0, 0.0001, 0.06, 4.0)}}, "dsnet") == ""
    assert marks({"dsnet": {"*": Versus("baseline", 9.0, 0.9, 0.05, 4.0)}}, "dsnet") == "*"


def test_no_second_mark_where_the_baseline_is_the_best_other():
    column = columns({method: cells(method) for method in ("baseline", "dsnet")})[0]
    assert {row: list(own) for row, own in against_baseline_and_best(column).items()} == {
        "baseline": [],
        "dsnet": ["*"],
    }


def test_without_a_baseline_nothing_is_tested():
    column = columns({method: cells(method) for method in ("dsc", "dsnet")})[0]
    assert against_baseline_and_best(column) == {}
    assert against(column, "baseline") == {}


def test_rows_against_one_are_adjusted_together():
    rows = {"dsnet": cells("dsnet"), "a": cells("isnet"), "b": cells("baseline")}
    column = columns(rows)[0]
    entries = column.entries
    for unit in ("utterance", "speaker"):
        p = holm([paired_permutation(entries[n].predictions, entries["dsnet"].predictions, unit) for n in ("a", "b")])
        assert [getattr(against(column, "dsnet")[n]["*"], f"p_{unit}") for n in ("a", "b")] == pytest.approx(p)
    difference = mean_uar(entries["a"].predictions) - mean_uar(entries["dsnet"].predictions)
    assert against(column, "dsnet")["a"]["*"].difference == pytest.approx(difference)


def test_the_statistics_table_has_both_p_values_and_the_name_of_the_best_other(found, verdicts):
    table = statistics_table("x", "X", found, verdicts, "baseline")
    row = next(row for row in table.rows if row[:2] == ["alpha", "dsnet"])
    baseline, best = verdicts["alpha"]["dsnet"].values()
    assert [value.value for value in row[2:6]] == [
        *(baseline.difference, baseline.detectable, baseline.p_utterance, baseline.p_speaker)
    ]
    assert row[6] == "isnet"
    assert [value.value for value in row[7:]] == [best.difference, best.detectable, best.p_utterance, best.p_speaker]
    assert next(row for row in table.rows if row[:2] == ["alpha", "baseline"])[2:6] == [None] * 4


def test_few_speakers_are_said_to_have_no_small_p_value():
    column = columns({method: cells(method, BETA) for method in ("baseline", "dsnet")})
    table = statistics_table("x", "X", column, {"beta": against_baseline_and_best(column[0])}, "baseline")
    assert any("(5) gives no p value below 0.0625" in note for note in table.notes)


def test_details_have_intervals_fold_mean_recalls_sex_and_the_worst_speaker(found):
    table = details_table("x", "X", found)
    row = dict(zip(table.header, next(r for r in table.rows if r[:2] == ["alpha", "dsc"]), strict=True))
    entry = found[0].entries["dsc"]
    assert row["95%, utterances"] == Interval(*interval_over_utterances(entry.predictions))
    assert row["95%, speakers"] == Interval(*interval_over_speakers(entry.predictions))
    assert row["fold-mean UAR"].value == pytest.approx(np.mean(entry.fold_uars))
    by_class = np.mean([recall_score(*pooled("dsc", seed), average=None) for seed in range(2)], axis=0)
    assert [row[name].value for name in ("angry", "happy", "neutral", "sad")] == pytest.approx(100 * by_class)

    truth = entry.predictions.truth
    speaker = entry.predictions.speaker
    women = np.isin(speaker, [name for name, sex in ALPHA.sex.items() if sex == "F"])

    def uar(chosen):
        return np.mean(
            [100 * recall_score(truth[chosen], said[chosen], average="macro") for said in entry.predictions.predicted]
        )

    assert row["women"].value == pytest.approx(uar(women))
    assert row["men"].value == pytest.approx(uar(~women))
    by_speaker = {name: uar(speaker == name) for name in ALPHA.speakers}
    assert row["worst UAR"].value == pytest.approx(min(by_speaker.values()))
    assert by_speaker[row["worst speaker"]] == pytest.approx(min(by_speaker.values()))
