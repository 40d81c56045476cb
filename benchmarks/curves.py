"""Learning curves of a method's folds (the paper's Figure 2): a CSV file and a picture."""

import csv
import io
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # before pyplot: no screen is needed
import numpy as np
from matplotlib import pyplot as plt

from dsnet_plugin.serialization import write_bytes


def write_curves(folder: Path, results: list[dict[str, Any]]) -> Path:
    """Writes ``curves.csv`` and ``curves.png`` for the finished folds of one method; returns the picture's path.

    The picture shows each loss in training and validation as the mean over folds with the range over folds, and last the
    validation UAR.
    """
    rows = [{"fold": result["cell"]["fold"], **_flat(epoch)} for result in results for epoch in result["curves"]]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(folder / "curves.csv", text.getvalue().encode())

    names = list(dict.fromkeys(name for result in results for name in result["curves"][0]["train"]))
    figure, axes = plt.subplots(1, len(names) + 1, figsize=(3.2 * (len(names) + 1), 3), layout="constrained")
    for axis, name in zip(axes, names, strict=False):
        for side, color in (("train", "tab:blue"), ("validation", "tab:orange")):
            _band(axis, [[epoch[side].get(name, np.nan) for epoch in r["curves"]] for r in results], side, color)
        axis.set_title(f"{name} loss")
    axes[0].legend()
    _band(axes[-1], [[epoch["validation_uar"] for epoch in r["curves"]] for r in results], "validation", "tab:orange")
    axes[-1].set_title("validation UAR (%)")
    for axis in axes:
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    plt.close(figure)
    write_bytes(folder / "curves.png", picture.getvalue())
    return folder / "curves.png"


def _band(axis: Any, folds: list[list[float]], label: str, color: str) -> None:
    """Mean and range over folds; one point is drawn as a point."""
    values = np.array(folds, dtype=float)
    if np.isnan(values).all():  # a loss that this side never computes
        return
    epochs = np.arange(1, values.shape[1] + 1)
    axis.plot(epochs, np.nanmean(values, 0), label=label, color=color, marker="o" if len(epochs) == 1 else None)
    axis.fill_between(epochs, np.nanmin(values, 0), np.nanmax(values, 0), color=color, alpha=0.2, linewidth=0)


def _flat(epoch: dict[str, Any]) -> dict[str, Any]:
    sides = {f"{side}_{name}": value for side in ("train", "validation") for name, value in epoch[side].items()}
    return {**{key: value for key, value in epoch.items() if key not in ("train", "validation")}, **sides}
