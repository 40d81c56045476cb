from dataclasses import dataclass

from benchmarks.report.about import budget_line, what_was_run
from benchmarks.report.cells import Budget, Runs
from benchmarks.training.settings import TrainingSettings
from tests.benchmarks.report.records import SETTINGS, Corpus, cell, read

ALPHA, BETA = Corpus("alpha"), Corpus("beta", speakers=3)
BUDGET = Budget("loso", TrainingSettings(**SETTINGS))


def test_the_head_says_what_was_run():
    lines = [cell("baseline", ALPHA, fold, seed, targets=(BETA,)) for fold in range(4) for seed in (0, 2, 3)]
    lines += [cell("dsnet", ALPHA, 0, label="dsnet first", encoder="timm/resnet18")]
    lines[0]["environment"] = {**lines[0]["environment"], "revision": None}
    about = dict(what_was_run(Runs([read(line, None) for line in lines])))
    assert about["Corpora"] == ["alpha: 100 utterances", "beta: 60 utterances, for tests alone"]
    assert about["Methods"] == ["baseline, dsnet first"]
    assert about["Encoders"] == ["cnn, timm/resnet18"]
    assert about["Folds and seeds"] == ["alpha: folds 0 to 3; seeds 0, 2, 3"]
    assert about["Training"] == ["13 cells, 0.1 hours in all"]
    assert about["Hardware"] == ["CPU, x86_64, 2 threads"]
    assert about["Versions"] == ["dsnet_plugin 0.1.0, python 3.12.3, torch 2.11.0"]
    assert about["Revision"] == ["unknown", "f94ceb1"]
    assert about["Budget"] == [budget_line(BUDGET)]


def test_a_budget_is_one_line_and_what_is_as_usual_goes_without_saying():
    assert budget_line(BUDGET) == (
        "leave one speaker out, 3 epochs, batches of 32, 300 frames, fp32, learning rate 0.001, patience 20"
    )


@dataclass(frozen=True)
class LaterSettings(TrainingSettings):
    """Those of a release to come."""

    warm_up: int = 0


def test_what_is_unusual_in_a_budget_is_said():
    line = budget_line(
        Budget("session", LaterSettings(**{**SETTINGS, "missing_neutral": "mask", "compile": True}, warm_up=5))
    )
    assert line.startswith("leave one session out, ")
    assert line.endswith("missing neutral mask, compile True, warm up 5")
