"""The columns of a comparison: for each corpus, and each pair of corpora, what every row says of the same test utterances."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.report.cells import Cell
from benchmarks.scores import Predictions, SpeakerRecord
from benchmarks.scores.statistics import mean_uar


@dataclass(frozen=True)
class Entry:
    """What one row says in one column.

    ``predictions`` have a replica for each seed (within a corpus) or for each fold and seed (across corpora); ``uars`` is
    the UAR in percent of each seed, and ``fold_uars`` the same as the mean over folds, which is the same across corpora.
    """

    predictions: Predictions
    uars: list[float]
    fold_uars: list[float]

    @property
    def sd(self) -> float | None:
        """The sample deviation of the UAR over seeds; None for one seed."""
        return float(np.std(self.uars, ddof=1)) if len(self.uars) > 1 else None


@dataclass(frozen=True)
class Column:
    """One corpus within itself, or from one to another, with the rows that were tested so.

    All entries rest on the same ``folds`` and ``seeds``: those that every row has. ``used`` of ``cells`` cells are among
    them. ``tested`` of the corpus' ``utterances`` are test utterances of these folds. Without a fold and seed common to
    all rows there are no entries.
    """

    name: str
    within: bool
    rows: list[str]
    folds: list[int]
    seeds: list[int]
    used: int
    cells: int
    utterances: int
    entries: dict[str, Entry]

    @property
    def tested(self) -> int:
        """How many utterances are tested."""
        return max((len(entry.predictions.truth) for entry in self.entries.values()), default=0)

    @property
    def speakers(self) -> int:
        """How many speakers are tested."""
        return max((len(set(entry.predictions.speaker)) for entry in self.entries.values()), default=0)

    @property
    def chance(self) -> float:
        """The UAR in percent of guessing: 25 where all four classes are tested."""
        held = {label for entry in self.entries.values() for label in entry.predictions.truth.tolist()}
        return 100 / max(1, len(held))


def columns(rows: Mapping[str, Sequence[Cell]]) -> list[Column]:
    """The columns that a table over these rows has: each corpus within itself, then each pair.

    Args:
        rows: the cells of each row by its name, all of one encoder and one budget.
    """
    cells = [cell for own in rows.values() for cell in own]
    corpora = list(dict.fromkeys(cell.corpus for cell in cells))
    pairs = [(own, other) for own in corpora for other in _targets(cells, own)]
    return [_column(rows, *pair) for pair in (*((name, name) for name in corpora), *pairs)]


def _targets(cells: Sequence[Cell], corpus: str) -> list[str]:
    found = dict.fromkeys(name for cell in cells if cell.corpus == corpus for name in cell.record["tests"])
    return [name for name in found if name != corpus]


def _column(rows: Mapping[str, Sequence[Cell]], corpus: str, target: str) -> Column:
    by_row = {
        row: own
        for row, cells in rows.items()
        if (own := {c.place: c for c in cells if c.corpus == corpus and target in c.record["tests"]})
    }
    folds, seeds = common_places([set(own) for own in by_row.values()])
    within = corpus == target
    entry = _within if within else _across
    tested = next(cell for own in by_row.values() for cell in own.values()).record["tests"][target]
    return Column(
        name=corpus if within else f"{corpus} to {target}",
        within=within,
        rows=list(by_row),
        folds=folds,
        seeds=seeds,
        used=len(by_row) * len(folds) * len(seeds),
        cells=sum(map(len, by_row.values())),
        utterances=tested["corpus"]["utterances"],
        entries={row: entry(own, folds, seeds, target) for row, own in by_row.items() if folds},
    )


def common_places(places: Sequence[set[tuple[int, int]]]) -> tuple[list[int], list[int]]:
    """The folds and seeds that all have, as a full grid: for every seed the same folds.

    Where some seeds have more folds than others, the grid with the most cells counts, and among equals the one with more
    folds.

    Args:
        places: for each row its pairs of fold and seed.
    """
    shared = set.intersection(*places)
    folds_of = {seed: {fold for fold, other in shared if other == seed} for _, seed in shared}
    if not folds_of:
        return [], []
    candidates = [*folds_of.values(), set.intersection(*folds_of.values())]
    grids = [(folds, [seed for seed, own in folds_of.items() if folds <= own]) for folds in candidates]
    folds, seeds = max(grids, key=lambda grid: (len(grid[0]) * len(grid[1]), len(grid[0])))
    return sorted(folds), sorted(seeds)


def _within(own: Mapping[tuple[int, int], Cell], folds: Sequence[int], seeds: Sequence[int], target: str) -> Entry:
    """The folds pooled, as section 4.3 has it."""
    records = [
        {name: said for fold in folds for name, said in _speakers(own[fold, seed], target).items()} for seed in seeds
    ]
    predictions = Predictions.from_records(records)
    fold_uars = [
        float(np.mean([mean_uar(Predictions.from_records([_speakers(own[fold, seed], target)])) for fold in folds]))
        for seed in seeds
    ]
    return Entry(predictions, _uars(predictions), fold_uars)


def _across(own: Mapping[tuple[int, int], Cell], folds: Sequence[int], seeds: Sequence[int], target: str) -> Entry:
    """Each fold's model on all of the other corpus, averaged, as section 4.3 has it."""
    places = [(fold, seed) for seed in seeds for fold in folds]
    predictions = Predictions.from_records([_speakers(own[place], target) for place in places])
    uars = np.reshape(_uars(predictions), (len(seeds), len(folds))).mean(1).tolist()
    return Entry(predictions, uars, uars)


def _uars(predictions: Predictions) -> list[float]:
    """The UAR of each replica."""
    return [mean_uar(replace(predictions, predicted=said[None])) for said in predictions.predicted]


def _speakers(cell: Cell, target: str) -> dict[str, SpeakerRecord]:
    return dict(cell.record["tests"][target]["speakers"])
