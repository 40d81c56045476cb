import pytest

from benchmarks.cost.complexity import PAPER_TABLE_3, measure
from benchmarks.data import PAPERS_CNN, EncoderSpec
from benchmarks.output.table import Number
from benchmarks.output.typed_json import from_json
from benchmarks.report.columns import columns
from benchmarks.report.cost_tables import complexity_table, encoder_cost_table, encoder_uar_table, fitting_speeds
from benchmarks.scores.statistics import holm, mean_uar, paired_permutation
from benchmarks.training.settings import TrainingSettings
from tests.benchmarks.report.records import SETTINGS, Corpus, cell, read, read_speed

ALPHA = Corpus("alpha", speakers=6, each=4)
BUDGET = TrainingSettings(**{**SETTINGS, "max_frames": 64})


def test_table_3_counts_and_has_the_papers_figures_beside():
    table = complexity_table("table-3", ["baseline", "dann", "dsnet"])
    for row in table.rows:
        assert [number.value for number in row[1:]] == list(measure(row[0]).in_table_3_units())
        assert [number.paper for number in row[1:]] == list(PAPER_TABLE_3.get(row[0], [None] * 4))
    assert [number.unit for number in table.rows[0][1:]] == ["M", "G", "M", "G"]


def test_the_cost_of_an_encoder_is_counted_at_the_budgets_frames():
    table = encoder_cost_table("x", "X", [PAPERS_CNN], BUDGET, [])
    assert [row[1] for row in table.rows] == ["baseline", "dsnet"]
    for row in table.rows:
        training_m, training_g, inference_m, inference_g = measure(row[1], PAPERS_CNN, 64).in_table_3_units()
        assert [number.value for number in row[2:6]] == [training_m, inference_m, training_g, inference_g]
        assert row[6:] == [None] * 5
    assert "not measured" in table.notes[-1]


def test_measured_speed_stands_in_its_units_for_the_encoder_and_method_it_was_measured_on():
    lines = [read_speed("dsnet", max_frames=64), read_speed("dann", max_frames=64)]
    table = encoder_cost_table("x", "X", [PAPERS_CNN], BUDGET, lines)
    rows = {row[1]: row[6:] for row in table.rows}
    assert [number.value for number in rows["dsnet"]] == [1234.0, 3.0, 2.5, 4321.0, 0.5]
    assert rows["baseline"] == [None] * 5
    assert list(rows) == ["baseline", "dann", "dsnet"]
    assert "NVIDIA H200" in table.notes[-1]


@pytest.mark.parametrize("change", [{"max_frames": 600}, {"batch_size": 8}, {"precision": "bf16"}, {"compile": True}])
def test_speed_under_another_budget_is_not_shown(change):
    assert fitting_speeds(from_json(TrainingSettings, SETTINGS, "settings", ""), [read_speed("dsnet", **change)]) == {}
    assert list(fitting_speeds(from_json(TrainingSettings, SETTINGS, "settings", ""), [read_speed("dsnet")])) == [
        ("cnn", "dsnet")
    ]


def test_of_two_lines_of_speed_the_later_counts():
    lines = [read_speed("dsnet", config={"run": 1}), read_speed("dsnet", config={"run": 2})]
    assert fitting_speeds(from_json(TrainingSettings, SETTINGS, "settings", ""), lines)["cnn", "dsnet"].config == {
        "run": 2
    }


def test_an_encoder_that_is_not_here_has_no_counts_and_the_others_have():
    table = encoder_cost_table("x", "X", [EncoderSpec("timm/no_such_model"), PAPERS_CNN], BUDGET, [])
    assert [row[2:6] == [None] * 4 for row in table.rows] == [True, True, False, False]


def test_each_encoder_is_tested_bare_against_dsnet_with_holm_over_the_encoders():
    rates = {"cnn": (0.3, 0.6), "timm/x": (0.6, 0.55), "timm/y": (0.4, 0.7)}
    by_encoder = {
        encoder: columns(
            {
                method: [
                    read(cell(method, ALPHA, fold, seed, hit, encoder=encoder), None)
                    for fold in range(6)
                    for seed in (0, 1)
                ]
                for method, hit in zip(("baseline", "dsnet"), hits, strict=True)
            }
        )
        for encoder, hits in rates.items()
    }
    table = encoder_uar_table("x", "X", by_encoder)
    pairs = [(own[0].entries["dsnet"], own[0].entries["baseline"]) for own in by_encoder.values()]
    assert [row[:2] for row in table.rows] == [["alpha", encoder] for encoder in rates]
    for row, (ours, bare) in zip(table.rows, pairs, strict=True):
        assert (row[2].value, row[3].value) == (mean_uar(bare.predictions), mean_uar(ours.predictions))
        assert row[4].value == pytest.approx(row[3].value - row[2].value)
        assert (row[2].bold, row[3].bold) == (row[4].value < 0, row[4].value > 0)
    for place, unit in ((5, "utterance"), (6, "speaker")):
        p = holm([paired_permutation(ours.predictions, bare.predictions, unit) for ours, bare in pairs])
        assert [row[place].value for row in table.rows] == pytest.approx(p)


def test_a_corpus_on_which_an_encoder_lacks_one_of_the_two_has_no_row_for_it():
    by_encoder = {
        "cnn": columns({m: [read(cell(m, ALPHA, fold), None) for fold in range(6)] for m in ("baseline", "dsnet")}),
        "timm/x": columns({"dsnet": [read(cell("dsnet", ALPHA, fold), None) for fold in range(6)]}),
    }
    rows = encoder_uar_table("x", "X", by_encoder).rows
    assert [row[:2] for row in rows] == [["alpha", "cnn"]]
    assert isinstance(rows[0][2], Number)
