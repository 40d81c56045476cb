"""The tables of UAR: rows side by side over corpora, and each figure in detail."""

from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.corpora import EMOTIONS
from benchmarks.output.table import Interval, Number, Table, Value
from benchmarks.report.columns import Column, Entry
from benchmarks.report.significance import Verdicts, marks
from benchmarks.scores.statistics import (
    interval_over_speakers,
    interval_over_utterances,
    mean_uar,
    recall_by_class,
    uar_by_sex,
    worst_speaker,
)


def uar_table(
    name: str,
    title: str,
    rows: Sequence[str],
    columns: Sequence[Column],
    verdicts: Mapping[str, Verdicts],
    notes: Sequence[str] = (),
    adapts: Mapping[str, bool] | None = None,
) -> Table:
    """One row a method, one column a corpus or pair: mean UAR, deviation over seeds, interval over speakers, marks.

    Args:
        name: of the table's files.
        title: above it.
        rows: names, in their order.
        columns: what was compared.
        verdicts: by the name of the column.
        notes: come after those on what is compared.
        adapts: of each row, whether utterances of the test speaker serve in training or inference: the column SA.
    """
    scores_by_row: list[Sequence[Value]] = []
    for row in rows:
        scores = [_score(column, row, verdicts[column.name]) for column in columns]
        scores_by_row.append([row, *([] if adapts is None else ["yes" if adapts[row] else "no"]), *scores])
    chance = [Number(column.chance) if column.entries else None for column in columns]
    facts = [] if adapts is None else ["SA"]
    header = ["method", *facts, *(column.name for column in columns)]
    foot = [["chance", *("" for _ in facts), *chance]]
    return Table(
        header,
        scores_by_row,
        foot,
        [_basis(columns), *notes],
        _incomplete(columns),
        1 + len(facts),
        name=name,
        title=title,
    )


def _basis(columns: Sequence[Column]) -> str:
    """The folds, seeds and utterances that the columns rest on."""
    return " ".join(f"{column.name}: {_grid(column)}, {_tested(column)}." for column in columns if column.entries)


def _incomplete(columns: Sequence[Column]) -> list[str]:
    """What is left out of the comparison, one sentence for all columns that lack the same."""
    said: dict[str, list[str]] = {}
    for column in columns:
        if not column.entries:
            text = f"no fold and seed that all of {', '.join(column.rows)} have, so nothing is compared."
        elif column.used < column.cells:
            text = (
                f"compared over the {_grid(column)} that all {len(column.rows)} methods have, {column.used} of "
                f"{column.cells} cells."
            )
        else:
            continue
        said.setdefault(text, []).append(column.name)
    return [f"{'; '.join(names)}: {text}" for text, names in said.items()]


def _grid(column: Column) -> str:
    return f"{_count(len(column.folds), 'fold')} and {_count(len(column.seeds), 'seed')}"


def _tested(column: Column) -> str:
    part = "" if column.tested == column.utterances else f" of {column.utterances:,}"
    return f"{column.tested:,}{part} utterances of {_count(column.speakers, 'speaker')}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _score(column: Column, row: str, verdicts: Verdicts) -> Number | None:
    if row not in column.entries:
        return None
    rounded = {name: round(mean_uar(entry.predictions), 2) for name, entry in column.entries.items()}
    entry = column.entries[row]
    return Number(
        mean_uar(entry.predictions),
        entry.sd,
        interval_over_speakers(entry.predictions),
        marks(verdicts, row),
        bold=len(rounded) > 1 and rounded[row] == max(rounded.values()),
    )


def details_table(name: str, title: str, columns: Sequence[Column]) -> Table:
    """Both intervals, UAR as the mean over folds, recall by class, UAR by sex, and the speaker it serves worst."""
    header = [
        *("tested on", "method", "UAR", "95%, utterances", "95%, speakers", "fold-mean UAR"),
        *EMOTIONS,
        *("women", "men", "worst speaker", "worst UAR"),
    ]
    rows = [
        [column.name, row, *_details(column.entries[row])]
        for column in columns
        for row in column.rows
        if row in column.entries
    ]
    notes = [
        "UAR is that of the pooled folds, or across corpora the mean over the folds' models; its 95% intervals are over "
        "utterances and over speakers. Then the recall of each class, the UAR of women and of men, and the speaker of the "
        "lowest UAR. All are means over seeds."
    ]
    return Table(header, rows, notes=notes, left=2, folded=True, name=name, title=title)


def _details(entry: Entry) -> list[Value]:
    predictions = entry.predictions
    by_sex = uar_by_sex(predictions)
    worst, lowest = worst_speaker(predictions)
    folds = entry.fold_uars
    return [
        Number(mean_uar(predictions), entry.sd),
        Interval(*interval_over_utterances(predictions)),
        Interval(*interval_over_speakers(predictions)),
        Number(float(np.mean(folds)), float(np.std(folds, ddof=1)) if len(folds) > 1 else None),
        *map(Number, recall_by_class(predictions).tolist()),
        Number(by_sex["F"]),
        Number(by_sex["M"]),
        worst,
        Number(lowest),
    ]
