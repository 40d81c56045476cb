"""What each loss does: its value, and how strongly it pulls on the encoder, in the first epoch and in the last."""

from collections.abc import Sequence

from benchmarks.output.table import Table, Value
from benchmarks.report.cells import Cell
from benchmarks.report.probes_table import spread
from benchmarks.report.rows import Rows


def losses_table(name: str, title: str, rows: Rows) -> Table:
    """Training and validation loss and the norm of its gradient on the encoder, by row and loss.

    Args:
        name: of the table's files.
        title: above it.
        rows: cells by the name of their row.
    """
    sides = ("training loss", "validation loss", "gradient on the encoder")
    header = ["method", "loss", *(f"{side}, {when}" for side in sides for when in ("first", "last"))]
    notes = [
        "Each loss without its weight, and the norm of its gradient on the encoder in the first batch of the epoch. First "
        "and last epoch; mean ± standard deviation over all cells of the row."
    ]
    rows_by_loss = [
        [row, loss, *_values(cells, loss)]
        for row, cells in rows.items()
        for loss in dict.fromkeys(loss for cell in cells for loss in cell.record.story.curves[0].train)
        if loss != "total"
    ]
    return Table(header, rows_by_loss, notes=notes, left=2, name=name, title=title)


def _values(cells: Sequence[Cell], loss: str) -> list[Value]:
    numbers = [
        [getattr(cell.record.story.curves[epoch], part) for cell in cells]
        for part in ("train", "validation", "gradient_norms")
        for epoch in (0, -1)
    ]
    return [spread([one[loss] for one in by_cell if loss in one], ".3g") for by_cell in numbers]
