"""What each loss does: its value, and how strongly it pulls on the encoder, in the first epoch and in the last."""

from collections.abc import Sequence

from benchmarks.report.cells import Cell
from benchmarks.report.probes_table import spread
from benchmarks.report.rows import Rows
from benchmarks.report.table import Table, Value


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
    found = [
        [row, loss, *_values(cells, loss)]
        for row, cells in rows.items()
        for loss in dict.fromkeys(loss for cell in cells for loss in cell.record["curves"][0]["train"])
        if loss != "total"
    ]
    return Table(name, title, header, found, notes=notes, left=2)


def _values(cells: Sequence[Cell], loss: str) -> list[Value]:
    return [
        spread(
            [
                epochs[place][side][loss]
                for cell in cells
                if (epochs := cell.record["curves"]) and loss in epochs[place].get(side, {})
            ],
            ".3g",
        )
        for side in ("train", "validation", "gradient_norms")
        for place in (0, -1)
    ]
