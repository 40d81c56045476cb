"""Figure 2: how the losses of DSNet fall, on every corpus."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from benchmarks.report.cells import Cell
from benchmarks.report.picture import Picture, render
from benchmarks.training.curves import draw_curves, panels


def curves_figure(name: str, title: str, cells: Sequence[Cell]) -> Picture:
    """One row a corpus, one column a loss, and last the validation UAR.

    Args:
        name: of the figure's files.
        title: above it.
        cells: at least one, all of the same method.
    """
    corpora = list(dict.fromkeys(cell.corpus for cell in cells))
    names = [name for name in panels([cell.record.story.curves for cell in cells]) if name != "total loss"]
    size = (2.5 * len(names), 2.3 * len(corpora))
    figure = Figure(size, layout=ConstrainedLayoutEngine(hspace=0.08))
    axes = figure.subplots(len(corpora), len(names), squeeze=False)
    for row, corpus in zip(axes, corpora, strict=True):
        draw_curves(row, [cell.record.story.curves for cell in cells if cell.corpus == corpus], names)
        row[0].set_ylabel(corpus, parse_math=False, weight="bold")
    caption = (
        "Each loss without its weight, in training and validation: the line is the mean over folds and seeds, the region "
        "around it their range."
    )
    return render(figure, name, title, caption)
