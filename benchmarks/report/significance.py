"""The tests behind the marks: every row of a column against one or two others."""

from collections.abc import Mapping, Sequence
from math import isnan
from typing import get_args

from benchmarks.output.table import Number, Table, Value
from benchmarks.report.columns import Column
from benchmarks.report.rows import BASELINE, OURS
from benchmarks.scores.statistics import (
    Unit,
    Versus,
    compare,
    detectable_difference,
    holm,
    mean_uar,
    paired_permutation,
)

ALPHA = 0.05
"""A mark stands where the p value over speakers, after Holm's adjustment, is not above it."""

TO_FIRST, TO_BEST = "*", "†"

Verdicts = dict[str, dict[str, Versus]]
"""By row and mark, the row against what the mark stands for."""


def against_baseline_and_best(column: Column) -> Verdicts:
    """Every method against the baseline, and against the best that is not DSNet; nothing without a baseline."""
    if BASELINE not in column.entries:
        return {}
    methods = {row: entry.predictions for row, entry in column.entries.items()}
    verdicts: Verdicts = {}
    for comparison in compare(methods, BASELINE, OURS):
        marked = verdicts.setdefault(comparison.method, {})
        if comparison.baseline is not None:
            marked[TO_FIRST] = comparison.baseline
        if comparison.best is not None and comparison.best.other != BASELINE:
            marked[TO_BEST] = comparison.best
    return verdicts


def against(column: Column, reference: str) -> Verdicts:
    """Every row against one; nothing without that one."""
    if reference not in column.entries:
        return {}
    other = column.entries[reference].predictions
    tested = {row: entry.predictions for row, entry in column.entries.items() if row != reference}
    p = {
        unit: holm([paired_permutation(predictions, other, unit) for predictions in tested.values()])
        for unit in get_args(Unit)
    }
    differences = {row: mean_uar(predictions) - mean_uar(other) for row, predictions in tested.items()}
    return {
        row: {
            TO_FIRST: Versus(
                reference,
                difference,
                float(p["utterance"][i]),
                float(p["speaker"][i]),
                detectable_difference(tested[row], other),
            )
        }
        for i, (row, difference) in enumerate(differences.items())
    }


def marks(verdicts: Verdicts, row: str) -> str:
    """The significance marks of a row: ``*``, ``†``, both or none."""
    return "".join(mark for mark, versus in verdicts.get(row, {}).items() if versus.p_speaker <= ALPHA)


def statistics_table(
    name: str, title: str, columns: Sequence[Column], verdicts: Mapping[str, Verdicts], first: str
) -> Table:
    """Differences in points of UAR, and the p values over utterances and over speakers.

    Args:
        name: of the table's files.
        title: above it.
        columns: what was compared.
        verdicts: by the name of the column.
        first: the row against which all others are tested; where a second one is in the verdicts, it has columns too.
    """
    second = any(TO_BEST in marked for by_row in verdicts.values() for marked in by_row.values())
    rows = [
        [column.name, row, *_against(marked.get(TO_FIRST)), *(_against_best(marked.get(TO_BEST)) if second else [])]
        for column in columns
        for row, marked in verdicts[column.name].items()
        if marked
    ]

    def columns_to(other: str) -> list[str]:
        return [f"to {other}", "smallest detectable", f"p to {other} (utterances)", f"p to {other} (speakers)"]

    header = ["tested on", "method", *columns_to(first), *(["best other", *columns_to("best")] if second else [])]
    notes = [
        "Differences in points of UAR, the smallest that a study of so many speakers detects (power 80%, level 5%, by how much these "
        "speakers differ), and p values of two-sided paired permutation tests after Holm's adjustment over the methods of one corpus or pair. Over "
        "utterances: for these speakers. Over speakers: for speakers in general."
    ]
    fewest = min((column.speakers for column in columns if column.entries), default=0)
    if fewest and 2 / 2**fewest > ALPHA / 10:
        notes.append(
            f"A test over speakers ({fewest}) gives no p value below {2 / 2**fewest:.4f}, before the adjustment."
        )
    return Table(header, rows, notes=notes, left=2, folded=True, name=name, title=title)


def _against(versus: Versus | None) -> list[Value]:
    if versus is None:
        return [None] * 4
    p = (Number(value, form=".4f") for value in (versus.p_utterance, versus.p_speaker))
    seen = None if isnan(versus.detectable) else Number(versus.detectable)
    return [Number(versus.difference, form="+.2f"), seen, *p]


def _against_best(versus: Versus | None) -> list[Value]:
    return [None if versus is None else versus.other, *_against(versus)]
