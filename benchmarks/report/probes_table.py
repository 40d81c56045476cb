"""What the disentanglement did: how much emotion and how much speaker each feature space holds."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.report.cells import Cell
from benchmarks.report.rows import Rows
from benchmarks.report.table import Number, Table, Value

_HSIC = "hsic"
_QUESTIONS = ("emotion", "speaker")


def probes_table(name: str, title: str, rows: Rows) -> Table | None:
    """Scores of linear probes by method and space, and the dependence of z_er and z_ei; None if no cell has any.

    Args:
        name: of the table's files.
        title: above it.
        rows: cells by method.
    """
    corpora = list(dict.fromkeys(cell.corpus for cells in rows.values() for cell in cells))
    probed = {
        (corpus, method): _probes([cell for cell in cells if cell.corpus == corpus])
        for corpus in corpora
        for method, cells in rows.items()
    }
    spaces = list(dict.fromkeys(s for own in probed.values() for probes in own for s in probes if s != _HSIC))
    if not spaces:
        return None
    asked = [(question, space) for question in _QUESTIONS for space in spaces]
    found: list[Sequence[Value]] = [
        [corpus, method, *(_score(own, *what) for what in asked), spread([p[_HSIC] for p in own if _HSIC in p], ".3f")]
        for (corpus, method), own in probed.items()
        if own
    ]
    foot = [
        [
            corpus,
            "chance",
            *(_chance([p for (c, _), own in probed.items() if c == corpus for p in own], *what) for what in asked),
            "",
        ]
        for corpus in corpora
    ]
    header = ["corpus", "method", *(f"{question} in {space}" for question, space in asked), "HSIC of z_er and z_ei"]
    notes = [
        "Balanced accuracy in percent of linear probes on held-out utterances: for the emotion those of speakers whom the "
        "model never saw, for the speaker those of training speakers. Mean ± standard deviation over cells. HSIC is the "
        "dependence of the two subspaces, from 0 to 1."
    ]
    failed = sum("error" in cell.record.get("probes", {}) for cells in rows.values() for cell in cells)
    if failed:
        notes.append(f"{failed} cells have too few utterances of a speaker or a class to be probed.")
    return Table(name, title, header, found, foot, notes, left=2)


def _probes(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    return [probes for cell in cells if (probes := cell.record.get("probes")) and "error" not in probes]


def _score(probed: Sequence[dict[str, Any]], question: str, space: str) -> Number | None:
    return spread([probes[space][question] for probes in probed if space in probes], ".1f")


def _chance(probed: Sequence[dict[str, Any]], question: str, space: str) -> Number | None:
    found = [probes[space][f"{question}_chance"] for probes in probed if space in probes]
    return Number(float(np.mean(found)), form=".1f") if found else None


def spread(values: Sequence[float], form: str) -> Number | None:
    """Mean and sample deviation; None of nothing."""
    if not values:
        return None
    return Number(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None, form=form)
