"""Scores of one run: UAR pooled and by fold, WA, macro F1, confusion; ``statistics.py`` compares runs."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from benchmarks.corpora import EMOTIONS
from benchmarks.scores.predictions import Predictions
from benchmarks.scores.statistics import interval_over_utterances


def recalls(truth: ArrayLike, predicted: ArrayLike) -> NDArray[np.float64]:
    """Recall of each of the four classes, in percent; NaN for a class that ``truth`` lacks."""
    labels = list(range(len(EMOTIONS)))
    shares = recall_score(truth, predicted, labels=labels, average=None, zero_division=np.nan)
    return 100 * np.asarray(shares)


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

    The interval is :func:`benchmarks.scores.statistics.interval_over_utterances`.
    """
    truth = np.concatenate([np.asarray(t) for t, _ in folds])
    predicted = np.concatenate([np.asarray(p) for _, p in folds])
    by_fold = [uar(t, p) for t, p in folds]
    fold = np.repeat([str(number) for number in range(len(folds))], [len(t) for t, _ in folds])
    labels = list(range(len(EMOTIONS)))
    return Scores(
        uar=uar(truth, predicted),
        interval=interval_over_utterances(Predictions(truth, predicted[None], fold), seed),
        fold_uar=float(np.mean(by_fold)),
        fold_std=float(np.std(by_fold, ddof=1)) if len(by_fold) > 1 else float("nan"),
        accuracy=100 * float(accuracy_score(truth, predicted)),
        macro_f1=100 * float(f1_score(truth, predicted, labels=labels, average="macro", zero_division=0.0)),
        recalls=recalls(truth, predicted).tolist(),
        confusion=confusion_matrix(truth, predicted, labels=labels).tolist(),
    )
