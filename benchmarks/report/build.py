"""A report from finished cells: one page, and each table and figure as files."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.cost.speed_record import SpeedRecord
from benchmarks.cost.speed_table import speed_tables
from benchmarks.methods import METHODS
from benchmarks.output.formats import escape_markdown, latex, markdown, to_csv
from benchmarks.output.table import Table
from benchmarks.report.about import budget_line, what_was_run
from benchmarks.report.cells import Cell, read_runs
from benchmarks.report.columns import columns
from benchmarks.report.cost_tables import complexity_table, encoder_cost_table, encoder_uar_table, fitting_speeds
from benchmarks.report.encoder_section import encoder_section
from benchmarks.report.page import render_page
from benchmarks.report.rows import BASELINE, OURS, sort_rows
from benchmarks.report.section import Section, name_files
from dsnet_plugin.serialization import write_bytes

PAGE_NAME = "report.html"


def write_report(runs: Sequence[Path], out: Path | None = None, say: Callable[[str], None] = print) -> Path:
    """Writes ``OUT/report.html``, ``OUT/tables.md``, ``OUT/tables/*.tex`` and ``*.csv``, ``OUT/figures/*.png`` and ``*.svg``.

    Args:
        runs: run folders, or files of their lines.
        out: the folder; ``report`` in the first run's folder if None.
        say: gets a line on each section.

    Returns:
        The path of the page.

    Raises:
        RunError: nothing there, or neither a finished cell nor a line of speed.
        CheckpointError: a line that is damaged or of another version.
    """
    read = read_runs(runs)
    first = runs[0] if runs[0].is_dir() else runs[0].parent
    folder = out or first / "report"
    sections = []
    for title, make in _planned(read.cells, read.speeds):
        say(title)
        sections.append(make())
    name_files(sections)
    for section in sections:
        for item in section.items:
            if isinstance(item, Table):
                write_bytes(folder / "tables" / f"{item.name}.tex", latex(item, section.where).encode())
                write_bytes(folder / "tables" / f"{item.name}.csv", to_csv(item).encode())
            else:
                write_bytes(folder / "figures" / f"{item.name}.png", item.png)
                write_bytes(folder / "figures" / f"{item.name}.svg", item.svg)
    write_bytes(folder / "tables.md", _markdown(sections).encode())
    page = render_page(what_was_run(read), read.remarks, sections)
    write_bytes(folder / PAGE_NAME, page.encode())
    return folder / PAGE_NAME


def _planned(cells: Sequence[Cell], speeds: Sequence[SpeedRecord]) -> Iterator[tuple[str, Callable[[], Section]]]:
    """The sections in their order, by their titles."""
    if not cells:
        yield "Speed", lambda: Section("Speed", items=list(speed_tables(speeds)))
    by_budget = _grouped(cells, lambda cell: cell.budget)
    for i, budget_cells in enumerate(by_budget, 1):
        budget = budget_line(budget_cells[0].budget)
        number = [f"budget {i}"] if len(by_budget) > 1 else []
        by_encoder = _grouped(budget_cells, lambda cell: cell.encoder)
        for part in by_encoder:
            where = ", ".join([*([part[0].encoder] if len(by_encoder) > 1 else []), *number])
            title = f"Results: {where}" if where else "Results"
            yield title, partial(encoder_section, title, budget, where, part)
        if len(by_encoder) > 1 or fitting_speeds(budget_cells[0].budget.settings, speeds):
            title = ": ".join(["Encoders" if len(by_encoder) > 1 else "Speed", *number])
            yield title, partial(_encoders, title, budget, ", ".join(number), by_encoder, speeds)
    present = {cell.method for cell in cells}
    if methods := [method for method in METHODS if method in present]:
        yield "Complexity", lambda: Section("Complexity", items=[complexity_table("table-3", methods)])


def _grouped(cells: Sequence[Cell], key: Callable[[Cell], Hashable]) -> list[list[Cell]]:
    groups: dict[Hashable, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(key(cell), []).append(cell)
    return list(groups.values())


def _encoders(
    title: str, budget: str, where: str, by_encoder: Sequence[Sequence[Cell]], speeds: Sequence[SpeedRecord]
) -> Section:
    """What DSNet costs and gains on each encoder."""
    section = Section(title, budget, where)
    pairs = {}
    for cells in by_encoder:
        rows = sort_rows(cells).comparison
        if BASELINE in rows and OURS in rows:
            pairs[cells[0].encoder] = columns({BASELINE: rows[BASELINE], OURS: rows[OURS]})
    if len(pairs) > 1:
        section.items.append(encoder_uar_table("encoders-uar", "DSNet on each encoder: UAR in percent", pairs))
    encoders = [cells[0].record.identity.settings.encoder for cells in by_encoder]
    budget_settings = by_encoder[0][0].budget.settings
    section.items.append(encoder_cost_table("encoders-cost", "Cost on each encoder", encoders, budget_settings, speeds))
    return section


def _markdown(sections: Sequence[Section]) -> str:
    blocks = ["# DSNet benchmark"]
    for section in sections:
        blocks.append(f"## {escape_markdown(section.title)}")
        blocks += [escape_markdown(text) for text in (section.budget, *section.remarks) if text]
        blocks += [markdown(item) for item in section.items if isinstance(item, Table)]
    return "\n\n".join(blocks) + "\n"
