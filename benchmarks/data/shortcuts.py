"""Whether something other than the voice tells the class: duration, level, silence or text, each by itself.

A corpus in which it does is learnt without learning emotion. Simple classifiers are trained and tested on what remains of an
utterance when its voice is taken away, always on speakers that they have not seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier

from benchmarks.corpora import EMOTIONS, Utterance
from benchmarks.data.recordings import Recording
from benchmarks.errors import CorpusError

_FOLDS = 5
_DRAWS = 500
_Values = NDArray[np.float64]


@dataclass(frozen=True)
class Shortcut:
    """How well one cue beside the voice tells the class."""

    name: str
    """The cue, such as ``"duration"``."""

    uar: float
    """Unweighted average recall on unseen speakers, in percent."""

    low: float
    """The lower end of its 95% interval, by a bootstrap over speakers."""

    high: float
    """The upper end of that interval."""

    chance: float
    """The UAR of guessing: 100 divided by the number of classes."""


def find_shortcuts(utterances: Sequence[Utterance], recordings: Sequence[Recording | None]) -> list[Shortcut]:
    """Tries duration, level, silence at the ends, and, where it is known, the text.

    Raises:
        CorpusError: fewer than two speakers or two classes can be read.
    """
    pairs = [(u, r) for u, r in zip(utterances, recordings, strict=True) if r is not None]
    speakers = np.array([u.speaker for u, _ in pairs])
    labels = np.array([EMOTIONS.index(u.label) for u, _ in pairs])
    if len(set(speakers)) < 2 or len(set(labels)) < 2:
        seen = f"{len(set(speakers))} speakers and {len(set(labels))} classes"
        raise CorpusError(f"{seen}; whether something beside the voice tells the class takes two of each")
    cues: dict[str, _Values] = {
        "duration": np.array([[r.seconds] for _, r in pairs]),
        "level": np.array([[r.level] for _, r in pairs]),
        "leading silence": np.array([[r.leading] for _, r in pairs]),
        "trailing silence": np.array([[r.trailing] for _, r in pairs]),
    }
    shortcuts = [_shortcut(name, values, labels, speakers) for name, values in cues.items()]
    if all(u.text is not None for u, _ in pairs):
        texts = np.array([[u.text] for u, _ in pairs], dtype=object)
        shortcuts.append(_shortcut("text", texts, labels, speakers))
    return shortcuts


def _shortcut(
    name: str, values: NDArray[np.generic], labels: NDArray[np.int64], speakers: NDArray[np.str_]
) -> Shortcut:
    predicted = np.empty_like(labels)
    for train, test in GroupKFold(min(_FOLDS, len(set(speakers)))).split(values, labels, speakers):
        predicted[test] = _classifier(name).fit(values[train], labels[train]).predict(values[test])
    people, person = np.unique(speakers, return_inverse=True)
    classes, label = np.unique(labels, return_inverse=True)
    totals, hits = np.zeros((2, len(people), len(classes)), dtype=np.int64)
    np.add.at(totals, (person, label), 1)
    np.add.at(hits, (person, label), predicted == labels)
    drawn = np.random.default_rng(0).integers(len(people), size=(_DRAWS, len(people)))
    uars = _uar(hits[drawn].sum(1), totals[drawn].sum(1))
    low, high = np.percentile(uars, (2.5, 97.5))
    uar = float(_uar(hits.sum(0), totals.sum(0)))
    return Shortcut(name, uar, float(low), float(high), 100 / len(classes))


def _classifier(name: str) -> Any:
    """A classifier: logistic regression over the texts, or a decision tree over a single number."""
    if name == "text":
        return make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(class_weight="balanced"))
    return DecisionTreeClassifier(min_samples_leaf=10, class_weight="balanced", random_state=0)


def _uar(hits: NDArray[np.int64], totals: NDArray[np.int64]) -> Any:
    """The mean of the classes' recalls in percent, over the last dimension; a class that was not drawn is left out."""
    with np.errstate(invalid="ignore"):
        return 100 * np.nanmean(hits / totals, axis=-1)


def shortcuts_report(shortcuts: Sequence[Shortcut]) -> str:
    """A line for each shortcut, and what to make of them."""
    lines = [
        f"class told by {s.name} alone: UAR {s.uar:.1f} [{s.low:.1f}, {s.high:.1f}], chance {s.chance:.1f}"
        for s in shortcuts
    ]
    lines.append(
        "on unseen speakers, the interval over speakers; emotions differ in duration and level by nature, but text or "
        "silence far above chance tells the class without the voice"
    )
    return "\n".join(lines)
