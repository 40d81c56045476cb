from benchmarks.methods import METHODS
from benchmarks.report.rows import sort_rows
from tests.benchmarks.report.records import Corpus, cell, read

ALPHA = Corpus("alpha")


def rows(*lines):
    return sort_rows([read(line, None) for line in lines])


def test_methods_stand_in_the_order_of_the_paper_whatever_the_order_of_the_lines():
    studies = rows(*(cell(name, ALPHA) for name in sorted(METHODS, reverse=True)))
    assert list(studies.comparison) == list(METHODS)
    assert (studies.ablation, studies.neutral, studies.losses, studies.remarks) == ({}, {}, {}, [])


def test_all_folds_and_seeds_of_one_setting_are_one_row():
    studies = rows(*(cell("menan", ALPHA, f, s, config={"num_speakers": f}) for f in range(3) for s in range(2)))
    assert [len(own) for own in studies.comparison.values()] == [6]


def test_each_study_has_dsnet_first():
    studies = rows(
        cell("dsnet-no-calibration", ALPHA, config={"gamma": 0.0}),
        cell("dsnet", ALPHA, label="medoid", config={"strategy": "medoid", "references": 3}),
        cell("dsnet", ALPHA, label="cold", config={"temperature": 0.1}),
        cell("dsnet", ALPHA),
    )
    assert list(studies.comparison) == ["dsnet"]
    assert list(studies.ablation) == ["dsnet", "dsnet-no-calibration"]
    assert list(studies.neutral) == ["dsnet", "medoid"]
    assert list(studies.losses) == ["dsnet", "cold"]


def test_a_dsnet_that_hears_the_test_speaker_is_no_ablation():
    studies = rows(
        cell("dsnet", ALPHA), cell("dsnet-enrolled", ALPHA, adapts=True), cell("dsnet-no-calibration", ALPHA)
    )
    assert list(studies.comparison) == ["dsnet", "dsnet-enrolled"]
    assert list(studies.ablation) == ["dsnet", "dsnet-no-calibration"]


def test_a_variant_in_references_and_losses_at_once_is_one_of_losses():
    studies = rows(cell("dsnet", ALPHA), cell("dsnet", ALPHA, label="x", config={"strategy": "first", "alpha": 2.0}))
    assert (list(studies.neutral), list(studies.losses)) == ([], ["dsnet", "x"])


def test_settings_of_another_method_are_rows_of_the_comparison_after_it():
    studies = rows(
        cell("dsnet", ALPHA),
        cell("dsc-gate", ALPHA),
        cell("dsc", ALPHA, label="dsc wide", config={"w": 2}),
        cell("dsc", ALPHA),
    )
    assert list(studies.comparison) == ["dsc", "dsc wide", "dsc-gate", "dsnet"]


def test_a_label_that_two_settings_share_is_told_apart_by_what_differs():
    studies = rows(
        cell("dsnet", ALPHA),
        cell("dsnet", ALPHA, config={"temperature": 0.1}),
        cell("dsnet", ALPHA, config={"temperature": 0.2}),
    )
    assert list(studies.losses) == ["dsnet", "dsnet (temperature 0.1)", "dsnet (temperature 0.2)"]


def test_settings_under_another_label_stand_for_their_method_and_it_is_remarked():
    studies = rows(cell("dsnet", ALPHA, label="paper literal"), cell("baseline", ALPHA))
    assert list(studies.comparison) == ["baseline", "dsnet"]
    assert len(studies.remarks) == 1
    assert "'paper literal'" in studies.remarks[0]
