"""The columns of a comparison: for each corpus, and each pair of corpora, what every row says of the same test utterances."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.report.cells import Cell
from benchmarks.scores import Predictions
from benchmarks.scores.statistics import mean_uar


@dataclass(frozen=True)
class Entry:
    """What one row says in one column."""

    predictions: Predictions
    """A replica for each seed (within a corpus), or for each fold and seed (across corpora)."""

    uars: list[float]
    """The UAR in percent of each seed."""

    fold_uars: list[float]
    """The mean UAR in percent over folds, of each seed; across corpora equal to ``uars``."""

    @property
    def sd(self) -> float | None:
        """The sample deviation of the UAR over seeds; None for one seed."""
        return float(np.std(self.uars, ddof=1)) if len(self.uars) > 1 else None


@dataclass(frozen=True)
class Column:
    """One corpus within itself, or from one to another, with the rows that were tested so.

    All entries rest on the same folds and seeds; where no fold and seed is common to all rows, there are no entries.
    """

    name: str
    """The corpus' name, or ``"one to another"``."""

    within: bool
    """Whether it is one corpus within itself."""

    rows: list[str]
    """The names of the rows, in their order."""

    folds: list[int]
    """The folds that every row has."""

    seeds: list[int]
    """The seeds that every row has in all these folds."""

    used: int
    """How many cells are of these folds and seeds."""

    cells: int
    """How many cells there are."""

    utterances: int
    """How many utterances the tested corpus has."""

    entries: dict[str, Entry]
    """What each row says, by its name."""

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
    cells = [cell for row_cells in rows.values() for cell in row_cells]
    corpora = list(dict.fromkeys(cell.corpus for cell in cells))
    pairs = [(corpus, target) for corpus in corpora for target in _targets(cells, corpus)]
    return [_column(rows, *pair) for pair in (*((name, name) for name in corpora), *pairs)]


def _targets(cells: Sequence[Cell], corpus: str) -> list[str]:
    tested = dict.fromkeys(name for cell in cells if cell.corpus == corpus for name in cell.record.tests)
    return [name for name in tested if name != corpus]


def _column(rows: Mapping[str, Sequence[Cell]], corpus: str, target: str) -> Column:
    by_row = {
        row: cells_of_row
        for row, cells in rows.items()
        if (cells_of_row := {c.fold_and_seed: c for c in cells if c.corpus == corpus and target in c.record.tests})
    }
    folds, seeds = common_folds_and_seeds([set(cells_of_row) for cells_of_row in by_row.values()])
    within = corpus == target
    entry = _within if within else _across
    tested = next(cell for cells_of_row in by_row.values() for cell in cells_of_row.values()).record.tests[target]
    return Column(
        name=corpus if within else f"{corpus} to {target}",
        within=within,
        rows=list(by_row),
        folds=folds,
        seeds=seeds,
        used=len(by_row) * len(folds) * len(seeds),
        cells=sum(map(len, by_row.values())),
        utterances=tested.corpus.utterances,
        entries={row: entry(cells_of_row, folds, seeds, target) for row, cells_of_row in by_row.items() if folds},
    )


def common_folds_and_seeds(pairs: Sequence[set[tuple[int, int]]]) -> tuple[list[int], list[int]]:
    """The folds and seeds that all have, as a full grid: for every seed the same folds.

    Where some seeds have more folds than others, the grid with the most cells counts, and among equals the one with more
    folds.

    Args:
        pairs: for each row its pairs of fold and seed.
    """
    shared = set.intersection(*pairs)
    folds_of = {seed: {fold for fold, other in shared if other == seed} for _, seed in shared}
    if not folds_of:
        return [], []
    candidates = [*folds_of.values(), set.intersection(*folds_of.values())]
    grids = [(folds, [seed for seed, all_folds in folds_of.items() if folds <= all_folds]) for folds in candidates]
    folds, seeds = max(grids, key=lambda grid: (len(grid[0]) * len(grid[1]), len(grid[0])))
    return sorted(folds), sorted(seeds)


def _within(cells: Mapping[tuple[int, int], Cell], folds: Sequence[int], seeds: Sequence[int], target: str) -> Entry:
    """The folds pooled, as section 4.3 has it."""
    pooled = [
        {name: said for fold in folds for name, said in cells[fold, seed].record.tests[target].speakers.items()}
        for seed in seeds
    ]
    predictions = Predictions.from_records(pooled)
    fold_uars = [float(np.mean([cells[fold, seed].record.tests[target].uar for fold in folds])) for seed in seeds]
    return Entry(predictions, _uars(predictions), fold_uars)


def _across(cells: Mapping[tuple[int, int], Cell], folds: Sequence[int], seeds: Sequence[int], target: str) -> Entry:
    """Each fold's model on all of the other corpus, averaged, as section 4.3 has it."""
    tests = [cells[fold, seed].record.tests[target] for seed in seeds for fold in folds]
    predictions = Predictions.from_records([test.speakers for test in tests])
    uars = np.reshape([test.uar for test in tests], (len(seeds), len(folds))).mean(1).tolist()
    return Entry(predictions, uars, uars)


def _uars(predictions: Predictions) -> list[float]:
    """The UAR of each replica."""
    return [mean_uar(replace(predictions, predicted=said[None])) for said in predictions.predicted]
