"""What the disentanglement did: how much emotion and how much speaker each feature space holds."""

from collections.abc import Sequence

import numpy as np

from benchmarks.output.table import Number, Table, Value
from benchmarks.report.rows import Rows
from benchmarks.scores.probing import Probes

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
        (corpus, method): [cell.record.probes for cell in cells if cell.corpus == corpus and cell.record.probes.spaces]
        for corpus in corpora
        for method, cells in rows.items()
    }
    spaces = list(dict.fromkeys(space for probes in probed.values() for one in probes for space in one.spaces))
    if not spaces:
        return None
    asked = [(question, space) for question in _QUESTIONS for space in spaces]
    scores: list[Sequence[Value]] = [
        [
            corpus,
            method,
            *(spread(_scores(probes, *what), ".1f") for what in asked),
            spread([one.hsic for one in probes if one.hsic is not None], ".3f"),
        ]
        for (corpus, method), probes in probed.items()
        if probes
    ]
    foot = [
        [
            corpus,
            "chance",
            *(
                _chance([one for (name, _), probes in probed.items() if name == corpus for one in probes], *what)
                for what in asked
            ),
            "",
        ]
        for corpus in corpora
    ]
    header = ["corpus", "method", *(f"{question} in {space}" for question, space in asked), "HSIC of z_er and z_ei"]
    notes = [
        "Balanced accuracy in percent of linear probes. The one for the emotion learns from some utterances of the validation and test "
        "speakers, whom the model never saw, and is asked about others of the same speakers: it knows their voices, so its score "
        "is no UAR. The one for the speaker does so among the training speakers. Mean ± standard deviation over cells. HSIC is the "
        "dependence of the two subspaces, from 0 to 1."
    ]
    failed = sum(cell.record.probes.error is not None for cells in rows.values() for cell in cells)
    if failed:
        notes.append(f"{failed} cells have too few utterances of a speaker or a class to be probed.")
    return Table(header, scores, foot, notes, left=2, name=name, title=title)


def _scores(probes: Sequence[Probes], question: str, space: str) -> list[float]:
    return [getattr(one.spaces[space], question) for one in probes if space in one.spaces]


def _chance(probes: Sequence[Probes], question: str, space: str) -> Number | None:
    scores = _scores(probes, f"{question}_chance", space)
    return Number(float(np.mean(scores)), form=".1f") if scores else None


def spread(values: Sequence[float], form: str) -> Number | None:
    """Mean and sample deviation; None without a value."""
    if not values:
        return None
    return Number(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None, form=form)
