"""The tables of the study of batch norm, from its lines."""

from collections.abc import Sequence
from statistics import mean, stdev

from benchmarks.output.table import Table
from benchmarks.scores.uar import uar
from benchmarks.studies.batch_norm_lines import TrainingLine

LAST = 6
"""The number of epochs at the end, when the learning has settled, over which ``check`` compares."""


def tables(lines: Sequence[TrainingLine]) -> list[Table]:
    """What ``check`` found where the lines hold several kinds of statistics an epoch, else a row for each kind of training."""
    if len(lines[0].epochs[0].test) > 1:
        return _checks(lines)
    return [_comparison(lines)]


def _checks(lines: Sequence[TrainingLine]) -> list[Table]:
    """A table a training, UAR by epoch and statistics, and what the statistics differ by over the last epochs."""
    kinds = [kind for kind in lines[0].epochs[0].test if kind != "suite"]
    found = [
        Table(
            ["epoch", *kinds],
            [
                [str(number), *(f"{epoch.test[kind]:.1f}" for kind in kinds)]
                for number, epoch in enumerate(line.epochs, 1)
            ],
            title=f"{line.method}, group {line.group}, seed {line.seed}: UAR of the test group in percent",
        )
        for line in lines
    ]
    rows = []
    for name in dict.fromkeys(line.method for line in lines):
        for kind in kinds[:-1]:
            apart = [
                abs(epoch.test[kind] - epoch.test["all"])
                for line in lines
                if line.method == name
                for epoch in line.epochs[-LAST:]
            ]
            rows.append([name, kind, f"{mean(apart):.2f}", f"{max(apart):.2f}"])
    share = mean(line.statistics_seconds / line.training_seconds for line in lines)
    difference = Table(
        ["method", "statistics", "mean", "most"],
        rows,
        notes=[f"The suite's statistics take {100 * share:.1f}% of the time of an epoch's training."],
        left=2,
        title=f"Difference from the statistics of all training utterances, in points, over the last {LAST} epochs",
    )
    return [*found, difference]


def _comparison(lines: Sequence[TrainingLine]) -> Table:
    """A row for each kind of training: UAR over all groups, its mean and deviation over seeds."""
    rows = []
    for choice in dict.fromkeys(line.choice for line in lines):
        of_choice = [line for line in lines if line.choice == choice]
        by_seed = [
            _pooled([line for line in of_choice if line.seed == seed])
            for seed in sorted({line.seed for line in of_choice})
        ]
        spread = f" ± {stdev(by_seed):.2f}" if len(by_seed) > 1 else ""
        neutral_pass = choice.neutral if choice.method == "dsnet" else "-"
        kind = [choice.method, choice.encoder, f"{choice.dropout:g}", neutral_pass]
        rows.append([*kind, f"{mean(by_seed):.2f}{spread}", str(len(of_choice))])
    return Table(["method", "encoder", "dropout", "neutral pass", "pooled UAR", "trainings"], rows, left=4)


def _pooled(lines: Sequence[TrainingLine]) -> float:
    """UAR in percent at the chosen epochs, over the groups."""
    return uar([y for line in lines for y in line.truth], [y for line in lines for y in line.predicted])
