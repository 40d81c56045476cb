"""Learning curves of a method's trainings (the paper's Figure 2): as CSV, as axes to draw on, as files of one method."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure  # without pyplot, so that a notebook keeps its own way of showing pictures

from dsnet_plugin.serialization import write_bytes

COLORS = {"train": "tab:blue", "validation": "tab:orange"}


def write_curves(folder: Path, results: Sequence[dict[str, Any]]) -> Path:
    """Writes ``curves.csv`` and ``curves.png`` for the finished folds of one method; returns the picture's path."""
    write_bytes(folder / "curves.csv", curves_csv(results).encode())
    names = panels(results)
    figure = Figure((3.2 * len(names), 3), layout="constrained")
    draw_curves(figure.subplots(1, len(names), squeeze=False)[0], results, names)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_bytes(folder / "curves.png", picture.getvalue())
    return folder / "curves.png"


def curves_csv(results: Sequence[dict[str, Any]]) -> str:
    """All numbers of all epochs, one line each."""
    rows = [{"fold": result["cell"]["fold"], **_flat(epoch)} for result in results for epoch in result["curves"]]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def panels(results: Sequence[dict[str, Any]]) -> list[str]:
    """What there is to draw: each loss by its name, and last ``"validation UAR (%)"``."""
    losses = dict.fromkeys(name for result in results for name in result["curves"][0]["train"])
    return [*(f"{name} loss" for name in losses), "validation UAR (%)"]


def draw_curves(axes: Any, results: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    """Draws each panel on an axis of its own, in training and validation the mean over trainings with their range.

    Args:
        axes: matplotlib's, at least as many as names.
        results: records of trainings with as many epochs each.
        names: of :func:`panels`.
    """
    for axis, name in zip(axes, names, strict=False):
        if name == "validation UAR (%)":
            found = [[epoch["validation_uar"] for epoch in result["curves"]] for result in results]
            _band(axis, found, "validation")
        else:
            loss = name.removesuffix(" loss")
            for side in ("train", "validation"):
                found = [[epoch[side].get(loss, np.nan) for epoch in result["curves"]] for result in results]
                _band(axis, found, side)
        axis.set_title(name)
        axis.set_xlabel("epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
    axes[0].legend()


def _band(axis: Any, trainings: list[list[float]], side: str) -> None:
    """Mean and range over trainings; one point is drawn as a point."""
    values = np.array(trainings, dtype=float)
    if np.isnan(values).all():  # a loss that this side never computes
        return
    epochs = np.arange(1, values.shape[1] + 1)
    color = COLORS[side]
    axis.plot(epochs, np.nanmean(values, 0), label=side, color=color, marker="o" if len(epochs) == 1 else None)
    axis.fill_between(epochs, np.nanmin(values, 0), np.nanmax(values, 0), color=color, alpha=0.2, linewidth=0)


def _flat(epoch: dict[str, Any]) -> dict[str, Any]:
    """One level of names; the losses of both sides and the gradients' norms have theirs before them."""
    found: dict[str, Any] = {}
    for key, value in epoch.items():
        if isinstance(value, dict):
            found |= {f"{key}_{name}": number for name, number in value.items()}
        else:
            found[key] = value
    return found
