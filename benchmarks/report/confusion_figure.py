"""Figure 4: confusion matrices of the baseline and of DSNet side by side."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from benchmarks.corpora import EMOTIONS
from benchmarks.report.columns import Column
from benchmarks.report.picture import Picture, render
from benchmarks.report.rows import BASELINE, OURS
from benchmarks.scores import Predictions


def mean_confusion(predictions: Predictions) -> NDArray[np.float64]:
    """Utterances by truth (rows) and prediction (columns), averaged over replicas."""
    labels = list(range(len(EMOTIONS)))
    matrices = [confusion_matrix(predictions.truth, said, labels=labels) for said in predictions.predicted]
    return np.asarray(np.mean(matrices, axis=0))


def confusion_figure(name: str, title: str, columns: Sequence[Column]) -> Picture | None:
    """One row a corpus within itself, the baseline to the left and DSNet to the right; None if no corpus has both.

    Args:
        name: of the figure's files.
        title: above it.
        columns: with rows named ``baseline`` and ``dsnet``.
    """
    shown = [column for column in columns if column.within and {BASELINE, OURS} <= column.entries.keys()]
    if not shown:
        return None
    size = (7.6, 3.6 * len(shown))
    figure = Figure(size, layout=ConstrainedLayoutEngine(hspace=0.06))
    axes = figure.subplots(len(shown), 2, squeeze=False)
    for row, column in zip(axes, shown, strict=True):
        for axis, method in zip(row, (BASELINE, OURS), strict=True):
            _draw(axis, mean_confusion(column.entries[method].predictions))
            axis.set_title(f"{column.name}: {method}", parse_math=False, fontsize=11)
    caption = (
        "Rows are the truth, columns the prediction: percent of the row, below it utterances, both means over seeds."
    )
    return render(figure, name, title, caption)


def _draw(axis: Any, counts: NDArray[np.float64]) -> None:
    support = counts.sum(1, keepdims=True)
    percent = np.divide(100 * counts, support, out=np.zeros_like(counts), where=support > 0)
    axis.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    for i, j in np.ndindex(*counts.shape):
        text = f"{percent[i, j]:.1f}\n{counts[i, j]:,.0f}" if support[i, 0] else "-"
        axis.text(j, i, text, ha="center", va="center", color="white" if percent[i, j] > 65 else "black")
    axis.set_xticks(range(len(EMOTIONS)), EMOTIONS)
    axis.set_yticks(range(len(EMOTIONS)), EMOTIONS)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
