"""Learning curves of a method's trainings (the paper's Figure 2): as CSV, as axes to draw on, as files of one method."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure  # without pyplot, so that a notebook keeps its own way of showing pictures

from benchmarks.training.story import Epoch
from dsnet_plugin.serialization import write_bytes

COLORS = {"train": "tab:blue", "validation": "tab:orange"}


def write_curves(folder: Path, trainings: Mapping[str, Sequence[Epoch]]) -> Path:
    """Writes ``curves.csv`` and ``curves.png`` for the trainings of one method; returns the picture's path.

    Args:
        folder: where they go.
        trainings: the epochs of each training, by its name.
    """
    write_bytes(folder / "curves.csv", curves_csv(trainings).encode())
    curves = list(trainings.values())
    names = panels(curves)
    figure = Figure((3.2 * len(names), 3), layout="constrained")
    draw_curves(figure.subplots(1, len(names), squeeze=False)[0], curves, names)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_bytes(folder / "curves.png", picture.getvalue())
    return folder / "curves.png"


def curves_csv(trainings: Mapping[str, Sequence[Epoch]]) -> str:
    """All numbers of all epochs, one line each."""
    rows = [{"training": name, **_flat(epoch)} for name, curves in trainings.items() for epoch in curves]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def panels(trainings: Sequence[Sequence[Epoch]]) -> list[str]:
    """What there is to draw: each loss by its name, and last ``"validation UAR (%)"``."""
    losses = dict.fromkeys(name for curves in trainings for name in curves[0].train)
    return [*(f"{name} loss" for name in losses), "validation UAR (%)"]


def draw_curves(axes: Any, trainings: Sequence[Sequence[Epoch]], names: Sequence[str]) -> None:
    """Draws each panel on an axis of its own, in training and validation the mean over trainings with their range.

    Args:
        axes: matplotlib's, at least as many as names.
        trainings: the epochs of each, equally many.
        names: those that :func:`panels` gives.
    """
    for axis, name in zip(axes, names, strict=False):
        if name == "validation UAR (%)":
            _band(axis, [[epoch.validation_uar for epoch in curves] for curves in trainings], "validation")
        else:
            loss = name.removesuffix(" loss")
            _band(axis, [[epoch.train.get(loss, np.nan) for epoch in curves] for curves in trainings], "train")
            _band(
                axis, [[epoch.validation.get(loss, np.nan) for epoch in curves] for curves in trainings], "validation"
            )
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


def _flat(epoch: Epoch) -> dict[str, float]:
    """One level of names; the losses of both sides and the gradients' norms have theirs before them."""
    parts = {"train": epoch.train, "validation": epoch.validation, "gradient_norms": epoch.gradient_norms}
    numbers = {f"{part}_{name}": number for part, losses in parts.items() for name, number in losses.items()}
    return {
        "epoch": epoch.epoch,
        **numbers,
        "validation_uar": epoch.validation_uar,
        "learning_rate": epoch.learning_rate,
    }
