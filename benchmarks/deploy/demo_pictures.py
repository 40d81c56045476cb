"""The pictures of ``dsnet demo``: a recording's spectrogram, and where it lies among the training utterances."""

import io
import math
from base64 import b64encode
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure  # without pyplot, whose state would be shared by the server's threads
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor

from backbones import SAMPLE_RATE, log_mel, num_samples
from backbones.frontend import FRAME_LENGTH, FRAME_SHIFT, NUM_MEL_BINS
from benchmarks.corpora import EMOTION_COLORS, EMOTIONS
from benchmarks.grid import TRAINING_SPACES_NAME
from benchmarks.output.files import read_tensors
from dsnet_plugin import CheckpointError

SHOWN_SECONDS = 30
"""The seconds of a recording that are shown at most."""

_SIZE = (4.4, 3.4)  # inches; so small that letters are read on a telephone
_FLOOR = -80  # dB below the loudest, the end of the colours
_HERTZ = (0, 250, 500, 1000, 2000, 4000, 8000)
_MARKERS = dict(zip(EMOTIONS, "os^D", strict=True))  # besides the colours, which not everyone can tell apart
_TITLES = {
    "h": "h, the features",
    "z_er": "$z_{er}$, the emotion-relevant features",
    "z_ei": "$z_{ei}$, the emotion-irrelevant features",
}


def as_html(figure: Figure, says: str) -> str:
    """A figure as an image within HTML, no wider than its place; ``says`` describes it to who cannot see it."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=150)
    data = b64encode(png.getvalue()).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{escape(says)}" style="width:100%;max-width:520px">'


def spectrogram(waveform: Tensor, max_frames: int) -> Figure:
    """The log-mel spectrogram of a recording's first ``SHOWN_SECONDS``; what a model of ``max_frames`` hears is marked.

    Args:
        waveform: shape (samples,), 16 kHz.
        max_frames: frames of 10 ms after which the model stops listening.
    """
    shown = waveform[: SHOWN_SECONDS * SAMPLE_RATE]
    energy = log_mel(shown).T.numpy() * (10 / math.log(10))  # natural logarithms of power to dB
    step, first = FRAME_SHIFT / SAMPLE_RATE, (FRAME_LENGTH - FRAME_SHIFT) / 2 / SAMPLE_RATE
    bin_width = float(_mel(SAMPLE_RATE / 2)) / (NUM_MEL_BINS + 1)
    extent = (first, first + energy.shape[1] * step, bin_width / 2, (NUM_MEL_BINS + 0.5) * bin_width)
    figure = Figure(figsize=_SIZE, layout="constrained")
    axis = figure.add_subplot()
    image = axis.imshow(
        energy - energy.max(), origin="lower", aspect="auto", extent=extent, vmin=_FLOOR, vmax=0, cmap="magma"
    )
    seconds = len(shown) / SAMPLE_RATE
    heard = num_samples(max_frames) / SAMPLE_RATE
    if heard < seconds:
        axis.axvspan(heard, seconds, color="white", alpha=0.55, linewidth=0)
        axis.axvline(heard, color="black", linewidth=1.5)
    axis.set(
        title="Log-mel spectrogram",
        xlabel="seconds",
        ylabel="Hz, on the mel scale",
        xlim=(0, max(seconds, extent[1])),
        ylim=(0, extent[3]),
    )
    axis.set_yticks(_mel(_HERTZ), [f"{value:,}" for value in _HERTZ])
    figure.colorbar(image, label="dB below the loudest")
    return figure


class TrainingMap:
    """One feature space of the training utterances on its two principal components, in which others can be placed.

    The plane is fitted to the training utterances alone, so a new one does not move it; t-SNE could not place it at all.

    Args:
        name: of the space.
        features: of the training utterances, shape (N, D).
        emotions: theirs, N names.
    """

    def __init__(self, name: str, features: Tensor, emotions: list[str]) -> None:
        self.name = name
        self.emotions = np.array(emotions)
        self._plane = PCA(2, svd_solver="full")
        with np.errstate(invalid="ignore"):  # a space in which all utterances are one point has no variance to explain
            self.points: NDArray[np.float32] = self._plane.fit_transform(features.numpy())
        self.explained = np.nan_to_num(self._plane.explained_variance_ratio_)

    def place(self, features: Tensor) -> Any:
        """The coordinates of an utterance with features (D,), shape (2,)."""
        return self._plane.transform(features[None].numpy())[0]

    def figure(self, features: Tensor | None = None) -> Figure:
        """The training utterances by emotion, and an utterance with features (D,), if there is one, as a star."""
        figure = Figure(figsize=_SIZE, layout="constrained")
        axis: Any = figure.add_subplot()
        for emotion, marker in _MARKERS.items():
            points = self.points[self.emotions == emotion]
            axis.scatter(
                *points.T, c=EMOTION_COLORS[emotion], marker=marker, s=22, alpha=0.6, linewidths=0, label=emotion
            )
        if features is not None:
            star = {"marker": "*", "s": 260, "c": "gold", "edgecolors": "black", "linewidths": 1.2}
            axis.scatter(*self.place(features), **star, zorder=3, label="this recording")
        x, y = (f"component {i}, {100 * share:.0f}% of variance" for i, share in enumerate(self.explained, 1))
        axis.set(xlabel=x, ylabel=y)
        axis.set_title(_TITLES[self.name], pad=9)
        legend: Any = figure.legend(
            loc="outside lower center", ncols=3, frameon=False, columnspacing=1, handletextpad=0.1
        )
        for handle in legend.legend_handles:
            handle.set_sizes([60])
        return figure


def training_maps(checkpoint: Path) -> list[TrainingMap]:
    """The maps of a trained fold: of z_er and z_ei, or of h for a method without them; none if no features are there.

    Args:
        checkpoint: a ``best.safetensors``, or the folder of a fold that holds one.

    Raises:
        CheckpointError: the features beside the checkpoint are damaged or something else.
    """
    path = (checkpoint if checkpoint.is_dir() else checkpoint.parent) / TRAINING_SPACES_NAME
    if not path.is_file():
        return []
    tensors, record = read_tensors(path)
    if record.get("kind") != "spaces":
        raise CheckpointError(f"{path} holds a {record.get('kind')}; expected spaces: delete it and train again")
    names = ("z_er", "z_ei") if "z_er" in tensors else ("h",)
    return [TrainingMap(name, tensors[name], [EMOTIONS[i] for i in record["emotion"]]) for name in names]


def _mel(hertz: Any) -> Any:
    """Kaldi's mel scale."""
    return 1127 * np.log1p(np.asarray(hertz) / 700)
