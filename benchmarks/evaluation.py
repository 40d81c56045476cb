"""Scores of predictions: UAR pooled and by fold, WA, macro F1, confusion, bootstrap intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import bootstrap
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from benchmarks.corpora import EMOTIONS

CONFIDENCE = 0.95
RESAMPLES = 2000


def recalls(truth: ArrayLike, predicted: ArrayLike) -> NDArray[np.float64]:
    """Recall of each of the four classes, in percent; NaN for a class that ``truth`` lacks."""
    labels = list(range(len(EMOTIONS)))
    found = recall_score(truth, predicted, labels=labels, average=None, zero_division=np.nan)
    return 100 * np.asarray(found)


def uar(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Unweighted average recall in percent: the mean recall of the classes that ``truth`` holds (section 4.3)."""
    return float(np.nanmean(recalls(truth, predicted)))


@dataclass(frozen=True)
class Scores:
    """Scores of a whole protocol, in percent; ``interval`` is the pooled UAR's 95% bootstrap interval.

    ``confusion`` counts utterances, rows the truth, columns the prediction, in the order of ``EMOTIONS``. ``fold_std`` is
    the sample deviation over folds, NaN for one fold.
    """

    uar: float
    interval: tuple[float, float]
    fold_uar: float
    fold_std: float
    accuracy: float
    macro_f1: float
    recalls: list[float]
    confusion: list[list[int]]


def score(folds: Sequence[tuple[Sequence[int], Sequence[int]]], seed: int = 0) -> Scores:
    """Scores the folds' (truth, prediction) pairs: pooled, which is the paper's figure, and as the mean of folds.

    The interval resamples utterances (percentile bootstrap): it says how sure the figure is for these speakers, and is
    too narrow for speakers in general, since a speaker's utterances depend on each other.
    """
    truth = np.concatenate([np.asarray(t) for t, _ in folds])
    predicted = np.concatenate([np.asarray(p) for _, p in folds])
    by_fold = [uar(t, p) for t, p in folds]
    labels = list(range(len(EMOTIONS)))
    return Scores(
        uar=uar(truth, predicted),
        interval=uar_interval(truth, predicted, seed),
        fold_uar=float(np.mean(by_fold)),
        fold_std=float(np.std(by_fold, ddof=1)) if len(by_fold) > 1 else float("nan"),
        accuracy=100 * float(accuracy_score(truth, predicted)),
        macro_f1=100 * float(f1_score(truth, predicted, labels=labels, average="macro", zero_division=0.0)),
        recalls=recalls(truth, predicted).tolist(),
        confusion=confusion_matrix(truth, predicted, labels=labels).tolist(),
    )


def uar_interval(truth: NDArray[np.int64], predicted: NDArray[np.int64], seed: int = 0) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of the UAR over utterances, in percent; (NaN, NaN) for fewer than two."""
    if len(truth) < 2:
        return float("nan"), float("nan")
    found = bootstrap(
        (truth, predicted),
        _resampled_uar,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def _resampled_uar(truth: NDArray[np.int64], predicted: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
    """UAR along an axis of many resamples at once; a class that a resample lacks does not count in it."""
    by_class = []
    for label in range(len(EMOTIONS)):
        is_label = truth == label
        support = is_label.sum(axis)
        hits = (is_label & (predicted == label)).sum(axis)
        by_class.append(np.where(support, hits / np.maximum(support, 1), np.nan))
    return np.asarray(100 * np.nanmean(by_class, axis=0))
