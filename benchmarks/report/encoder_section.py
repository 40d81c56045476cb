"""The section of one encoder under one budget: comparison, ablation, studies, and the look inside."""

from collections.abc import Iterator, Sequence

from benchmarks.output.table import Table
from benchmarks.report.cells import Cell
from benchmarks.report.columns import columns
from benchmarks.report.confusion_figure import confusion_figure
from benchmarks.report.curves_figure import curves_figure
from benchmarks.report.losses_table import losses_table
from benchmarks.report.picture import Picture
from benchmarks.report.probes_table import probes_table
from benchmarks.report.rows import BASELINE, OURS, Rows, sort_rows
from benchmarks.report.score_tables import details_table, uar_table
from benchmarks.report.section import Section
from benchmarks.report.significance import (
    ALPHA,
    TO_BEST,
    TO_FIRST,
    against,
    against_baseline_and_best,
    statistics_table,
)
from benchmarks.report.spaces_figure import first_with_spaces, spaces_figure

_SCORES = "Mean ± standard deviation over seeds, [95% interval over speakers, of at least five]; the best of a column is bold."


def encoder_section(title: str, budget: str, where: str, cells: Sequence[Cell]) -> Section:
    """Makes the tables and figures of the cells of one encoder and one budget.

    Args:
        title: of the section.
        budget: in words.
        where: what tells its tables from those of like sections.
        cells: at least one.
    """
    studies = sort_rows(cells)
    ours = studies.comparison.get(OURS, [])
    section = Section(title, budget, where, studies.remarks)
    section.items += _comparison(studies.comparison)
    section.items += _study("table-4", "Table 4", ". DSNet without one of its losses", studies.ablation)
    if ours:
        section.items.append(curves_figure("figure-2", "Figure 2. Losses of DSNet", ours))
    everything = studies.comparison | studies.ablation | studies.neutral | studies.losses
    inside = probes_table("spaces", "What the feature spaces hold", everything)
    section.items += [] if inside is None else [inside]
    pictures = list(_spaces(ours, studies.comparison.get(BASELINE, [])))
    section.items += pictures
    if ours and not pictures:
        section.remarks.append(
            "Figure 3 is left out: the feature spaces are in the cells' folders, which are not there."
        )
    section.items += _study("neutral", "Other neutral references", "", studies.neutral)
    section.items += _study("losses", "Other forms of the losses", "", studies.losses)
    if studies.losses:
        section.items.append(losses_table("losses-gradients", "What each loss does to the encoder", studies.losses))
    return section


def _comparison(rows: Rows) -> list[Table | Picture]:
    """Table 2, the tests and details behind it, and Figure 4."""
    if not rows:
        return []
    compared = columns(rows)
    verdicts = {column.name: against_baseline_and_best(column) for column in compared}
    notes = [_SCORES, "SA: utterances of the test speaker serve in training or inference."]
    tested = any(any(marked.values()) for marked in verdicts.values())
    if tested:
        notes.append(
            f"{TO_FIRST} differs from the baseline, {TO_BEST} from the best method that is not DSNet (p at most {ALPHA} over "
            "speakers)."
        )
    adapts = {row: row_cells[0].record.adapts for row, row_cells in rows.items()}
    items: list[Table | Picture] = [
        uar_table("table-2", "Table 2. The methods: UAR in percent", list(rows), compared, verdicts, notes, adapts)
    ]
    if tested:
        items.append(statistics_table("table-2-statistics", "The tests behind Table 2", compared, verdicts, BASELINE))
    items.append(details_table("table-2-details", "Table 2 in detail", compared))
    figure = confusion_figure("figure-4", "Figure 4. Confusion matrices", compared)
    return [*items, *([] if figure is None else [figure])]


def _study(name: str, short: str, rest: str, rows: Rows) -> list[Table | Picture]:
    """DSNet against other forms of itself, on the corpora for which there are any."""
    compared = [column for column in columns(rows) if set(column.rows) - {OURS}]
    if not compared:
        return []
    verdicts = {column.name: against(column, OURS) for column in compared}
    notes = [_SCORES]
    tested = any(any(marked.values()) for marked in verdicts.values())
    if tested:
        notes.append(f"{TO_FIRST} differs from {OURS} (p at most {ALPHA} over speakers).")
    table = uar_table(name, f"{short}{rest}: UAR in percent", list(rows), compared, verdicts, notes)
    behind = statistics_table(f"{name}-statistics", f"The tests behind {short}", compared, verdicts, OURS)
    return [table, behind] if tested else [table]


def _spaces(ours: Sequence[Cell], baselines: Sequence[Cell]) -> Iterator[Picture]:
    """Figure 3 of each corpus whose spaces are on disk, beside it h of the baseline of the same fold and seed."""
    for corpus in dict.fromkeys(cell.corpus for cell in ours):
        if (cell := first_with_spaces(ours, corpus)) is None:
            continue
        same = [other for other in baselines if other.fold_and_seed == cell.fold_and_seed]
        title = f"Figure 3. Feature spaces of {corpus}"
        if figure := spaces_figure(f"figure-3-{corpus}", title, cell, first_with_spaces(same, corpus)):
            yield figure
