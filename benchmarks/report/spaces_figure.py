"""Figure 3: the feature spaces of utterances whose speakers the model never saw, by t-SNE."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from benchmarks.corpora import EMOTION_COLORS, EMOTIONS
from benchmarks.grid import SPACES_NAME
from benchmarks.output.files import read_tensors
from benchmarks.output.printable import printable_json
from benchmarks.report.cells import Cell
from benchmarks.report.picture import Picture, render

MARKERS = {"validation": "o", "test": "s"}
PERPLEXITY = 30
FEWEST = 5
"""Utterances, below which there is nothing to lay out."""


class Space(NamedTuple):
    """A feature space laid out in the plane: ``points`` (N, 2), and each utterance's emotion, speaker and split."""

    title: str
    points: NDArray[np.float32]
    emotion: NDArray[np.str_]
    speaker: NDArray[np.str_]
    split: NDArray[np.str_]


def has_spaces(cell: Cell) -> bool:
    """Whether the cell's folder is there with its spaces."""
    return (cell.folder / SPACES_NAME).is_file()


def first_with_spaces(cells: Sequence[Cell], corpus: str) -> Cell | None:
    """The cell of a corpus' first fold and seed among those that have their spaces."""
    candidates = [cell for cell in cells if cell.corpus == corpus and has_spaces(cell)]
    return min(candidates, key=lambda cell: cell.fold_and_seed, default=None)


def spaces_figure(name: str, title: str, cell: Cell, baseline: Cell | None) -> Picture | None:
    """One column a space, coloured by emotion above and by speaker below; None for fewer than five utterances.

    Args:
        name: of the figure's files.
        title: above it.
        cell: a cell of DSNet, with its spaces.
        baseline: the baseline's cell of the same fold, whose h is shown beside; None without.
    """
    spaces = [*_laid_out(cell, ""), *([] if baseline is None else _laid_out(baseline, "baseline's "))]
    if not spaces:
        return None
    size = (2.7 * len(spaces) + 1.5, 5.2)
    figure = Figure(size, layout="constrained")
    axes = figure.subplots(2, len(spaces), squeeze=False)
    speakers = sorted(set(spaces[0].speaker.tolist()))
    palette = colormaps["tab10" if len(speakers) <= 10 else "tab20"]
    speaker_colors = {
        speaker: palette(4 + i if len(speakers) <= 6 else i % palette.N) for i, speaker in enumerate(speakers)
    }
    for top, bottom, space in zip(*axes, spaces, strict=True):
        _scatter(top, space, space.emotion, EMOTION_COLORS)
        _scatter(bottom, space, space.speaker, speaker_colors)
        top.set_title(space.title)
    split_of = dict(zip(spaces[0].speaker.tolist(), spaces[0].split.tolist(), strict=True))
    _legend(axes[0, -1], [(emotion, color, "o") for emotion, color in EMOTION_COLORS.items()])
    _legend(axes[1, -1], [(f"{s} ({split_of[s]})", speaker_colors[s], MARKERS[split_of[s]]) for s in speakers])
    axes[0, 0].set_ylabel("by emotion")
    axes[1, 0].set_ylabel("by speaker")
    caption = (
        f"t-SNE of the validation speaker's utterances (circles) and the test speaker's (squares), fold {cell.fold_and_seed[0]}, "
        f"seed {cell.fold_and_seed[1]}. The large points are the centres of one speaker's utterances of one emotion. Distances "
        "between spaces cannot be compared."
    )
    return render(figure, name, title, caption)


def _laid_out(cell: Cell, prefix: str) -> list[Space]:
    tensors, record = read_tensors(cell.folder / SPACES_NAME)
    emotion = np.array(EMOTIONS)[record["emotion"]]
    speaker, split = np.array(printable_json(record["speaker"])), np.array(record["split"])
    if len(emotion) < FEWEST:
        return []
    names = {"h": "h", "z_er": "$z_{er}$", "z_ei": "$z_{ei}$"}
    return [
        Space(f"{prefix}{shown}", _tsne(tensors[name].numpy()), emotion, speaker, split)
        for name, shown in names.items()
        if name in tensors
    ]


def _tsne(features: NDArray[np.float32]) -> Any:
    """Places (N, 2) of features (N, D); those that are all the same stay in one place, where scikit-learn would crash."""
    if np.ptp(features, axis=0).max() <= 1e-5 * np.abs(features).max():
        return np.zeros((len(features), 2))
    layout = TSNE(perplexity=min(PERPLEXITY, (len(features) - 1) / 3), init="pca", random_state=0)
    return layout.fit_transform(features)


def _scatter(axis: Any, space: Space, groups: NDArray[np.str_], colors: Mapping[str, Any]) -> None:
    """Each utterance small and faint, the centre of each speaker's utterances of each emotion large and opaque."""
    for split, marker in MARKERS.items():
        in_split = space.split == split
        faint = [colors[group] for group in groups[in_split].tolist()]
        axis.scatter(*space.points[in_split].T, c=faint, marker=marker, s=12, alpha=0.35, linewidths=0, rasterized=True)
    for speaker in np.unique(space.speaker):
        for emotion in np.unique(space.emotion):
            group = (space.speaker == speaker) & (space.emotion == emotion)
            if group.any():
                axis.scatter(
                    *space.points[group].mean(0),
                    color=colors[groups[group][0]],
                    marker=MARKERS[space.split[group][0]],
                    s=90,
                    edgecolors="black",
                    linewidths=0.8,
                )
    axis.set_xticks([])
    axis.set_yticks([])


def _legend(axis: Any, entries: Sequence[tuple[str, Any, str]]) -> None:
    """To the right of an axis: text, colour, and marker of each entry."""
    handles = [Line2D([], [], color=color, marker=marker, linestyle="") for _, color, marker in entries]
    texts = [text for text, _, _ in entries]
    legend = axis.legend(handles, texts, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a speaker's name may hold a $
