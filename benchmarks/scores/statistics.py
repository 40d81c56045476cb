"""Comparison of methods on the same test utterances: intervals, paired permutation tests, scores by group.

Everything rests on one statistic, the mean UAR over replicas (:func:`mean_uar`). The replicas share their truth, so this is
the UAR of the utterances' hit rates, and sums of hits and support over utterances or speakers suffice for it. A class
without support is NaN and does not count in a UAR, as in :func:`benchmarks.scores.uar.recalls`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import bootstrap, permutation_test, t

from benchmarks.corpora import EMOTIONS
from benchmarks.errors import RunError
from benchmarks.scores.predictions import Predictions, check_aligned

CONFIDENCE = 0.95
RESAMPLES = 2000
PERMUTATIONS = 9999
FEWEST = 5
"""Units below which there is no interval: of three, the 95% interval is no more than lowest and highest."""

Unit = Literal["utterance", "speaker"]
"""What counts as independent. Utterances: for these speakers. Speakers: for speakers in general."""

Floats = NDArray[np.float64]

_AT_ONCE = 4_000_000  # numbers held while resampling; with fewer, scipy spends its time between the batches


def mean_uar(predictions: Predictions) -> float:
    """UAR in percent, averaged over replicas."""
    return float(_uar(_tallies(predictions).sum(0)))


def recall_by_class(predictions: Predictions) -> Floats:
    """Recall of each class in percent, averaged over replicas, shape (4,); NaN for a class that the truth lacks."""
    return _recalls(_tallies(predictions).sum(0))


def uar_by_speaker(predictions: Predictions) -> dict[str, float]:
    """Mean UAR of each speaker in percent, over the classes this speaker has, in the order of their names."""
    names = np.unique(predictions.speaker).tolist()
    return dict(zip(names, _uar(_tallies(predictions, "speaker")).tolist(), strict=True))


def worst_speaker(predictions: Predictions) -> tuple[str, float]:
    """The speaker of the lowest mean UAR, and that UAR in percent."""
    return min(uar_by_speaker(predictions).items(), key=lambda item: item[1])


def uar_by_sex(predictions: Predictions) -> dict[str, float]:
    """Mean UAR in percent of the utterances of all women (``"F"``) and of all men (``"M"``); NaN where there are none."""
    sexes = np.array([predictions.sex.get(name) or "" for name in predictions.speaker.tolist()])
    tallies = _tallies(predictions)
    return {sex: float(_uar(tallies[sexes == sex].sum(0))) for sex in ("F", "M")}


def interval_over_utterances(predictions: Predictions, seed: int = 0) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of the mean UAR, resampling utterances; (NaN, NaN) for fewer than five.

    It says how sure the figure is for these speakers, and is too narrow for speakers in general, since a speaker's
    utterances depend on each other. A resample draws the same utterances for all replicas: the interval does not hold the
    spread over seeds.
    """
    return _interval(_tallies(predictions), seed)


def interval_over_speakers(predictions: Predictions, seed: int = 0) -> tuple[float, float]:
    """The interval of :func:`interval_over_utterances`, resampling whole speakers; (NaN, NaN) for fewer than five.

    With few speakers (under about ten) a percentile interval is too narrow.
    """
    return _interval(_tallies(predictions, "speaker"), seed)


def paired_permutation(
    a: Predictions, b: Predictions, unit: Unit = "utterance", permutations: int = PERMUTATIONS, seed: int = 0
) -> float:
    """Two-sided p of the difference in mean UAR: how often it would be as large if the methods' names were dealt out at random.

    Each permutation swaps the two methods' predictions of some utterances, or of all utterances of some speakers, in all
    replicas at once. Units on which both hit equally often change nothing and are left out. Exact over all swaps when
    they are at most ``permutations``; else sampled, with the observed one counted in. S speakers give no p below
    2 / 2**S.

    Raises:
        RunError: not the same utterances, or an unknown unit.
    """
    check_aligned(a, b)
    shares = _shares(a, b, unit)  # a swap turns the sign of a unit's share
    shares = shares[shares != 0]
    if len(shares) < 2:  # one share is as large with either sign
        return 1.0
    test = permutation_test(
        (shares,),
        np.sum,
        permutation_type="samples",
        vectorized=True,
        n_resamples=permutations,
        batch=max(1, _AT_ONCE // len(shares)),
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def detectable_difference(a: Predictions, b: Predictions) -> float:
    """The smallest difference in mean UAR, in points, that a comparison of this size would find in four of five times.

    That is for a two-sided test at 5% over speakers, by Student's t: the standard error of the difference, which follows from how
    much the speakers' shares in it vary, times the quantiles of 97.5% and 80%. A true difference below it may well go unseen; NaN
    for fewer than five speakers.

    Raises:
        RunError: not the same utterances.
    """
    check_aligned(a, b)
    shares = _shares(a, b, "speaker")
    if len(shares) < FEWEST:
        return float("nan")
    quantiles = t.ppf([0.975, 0.8], len(shares) - 1).sum()
    return float(quantiles * np.sqrt(len(shares)) * shares.std(ddof=1))


def holm(p_values: ArrayLike) -> Floats:
    """Holm's step-down adjustment (1979): rejecting adjusted p values up to alpha keeps the chance of any false
    rejection at alpha.

    The i-th smallest of m p values is multiplied by m - i + 1, raised to the adjusted value before it, and capped at
    1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = p.argsort()
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return adjusted


@dataclass(frozen=True)
class Versus:
    """A method against another."""

    other: str
    """The other method."""

    difference: float
    """In points of mean UAR."""

    p_utterance: float
    """The p value over utterances, after Holm's adjustment."""

    p_speaker: float
    """The p value over speakers, after Holm's adjustment."""

    detectable: float
    """See :func:`detectable_difference`."""


@dataclass(frozen=True)
class Comparison:
    """A method's mean UAR in percent, against the baseline and against the best comparator; None against itself."""

    method: str
    uar: float
    baseline: Versus | None
    best: Versus | None


def compare(
    methods: Mapping[str, Predictions],
    baseline: str = "baseline",
    ours: str = "dsnet",
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> list[Comparison]:
    """Tests all methods against the baseline, and against the best comparator.

    The best comparator is the method of the highest mean UAR among those whose names do not begin with ``ours``; the
    baseline is one of them. P values are adjusted across the methods tested, for each reference and unit apart.

    Raises:
        RunError: no such baseline, no comparator, or methods with predictions of different utterances.
    """
    uars = {name: mean_uar(predictions) for name, predictions in methods.items()}
    rivals = [name for name in uars if not name.startswith(ours)]
    if baseline not in uars or not rivals:
        raise RunError(
            f"methods {', '.join(uars)}: expected {baseline} among them, and one whose name does not begin with {ours}"
        )
    best = max(rivals, key=uars.__getitem__)

    def against(other: str) -> dict[str, Versus]:
        tested = [name for name in uars if name != other]
        p = {
            unit: holm([paired_permutation(methods[n], methods[other], unit, permutations, seed) for n in tested])
            for unit in get_args(Unit)
        }
        return {
            name: Versus(
                other,
                uars[name] - uars[other],
                float(p["utterance"][i]),
                float(p["speaker"][i]),
                detectable_difference(methods[name], methods[other]),
            )
            for i, name in enumerate(tested)
        }

    by_reference = {other: against(other) for other in {baseline, best}}
    return [
        Comparison(name, uar, by_reference[baseline].get(name), by_reference[best].get(name))
        for name, uar in uars.items()
    ]


def _shares(a: Predictions, b: Predictions, unit: Unit) -> Floats:
    """Each unit's share in the difference of the two mean UARs, in points: UAR is a sum over units once the support is known."""
    tallies_a, tallies_b = _tallies(a, unit), _tallies(b, unit)
    support = tallies_a[:, 1].sum(0)
    held = support > 0
    return np.asarray(100 * ((tallies_a - tallies_b)[:, 0][:, held] / support[held]).mean(1))


def _tallies(predictions: Predictions, unit: Unit = "utterance") -> Floats:
    """Hits, averaged over replicas, and support of each unit by class, shape (units, 2, 4); speakers by name."""
    support = predictions.truth[:, None] == np.arange(len(EMOTIONS))
    hits = (predictions.predicted == predictions.truth).mean(0)
    tallies = np.stack([support * hits[:, None], support.astype(np.float64)], axis=1)
    if unit == "utterance":
        return tallies
    if unit != "speaker":
        raise RunError(f"unit {unit!r}; expected utterance or speaker")
    names, place = np.unique(predictions.speaker, return_inverse=True)
    by_speaker = np.zeros((len(names), *tallies.shape[1:]))
    np.add.at(by_speaker, place, tallies)
    return by_speaker


def _recalls(tallies: Floats) -> Floats:
    """Recall in percent by class of (..., 2, 4) sums; NaN without support."""
    hits, support = tallies[..., 0, :], tallies[..., 1, :]
    return np.where(support, 100 * hits / np.maximum(support, 1), np.nan)


def _uar(tallies: Floats) -> Floats:
    """Mean recall of the classes with support, of (..., 2, 4) sums; NaN where there is none at all."""
    recalls = _recalls(tallies)
    held = (~np.isnan(recalls)).sum(-1)
    return np.asarray(np.where(held, np.nansum(recalls, axis=-1) / np.maximum(held, 1), np.nan))


def _interval(tallies: Floats, seed: int) -> tuple[float, float]:
    if len(tallies) < FEWEST:
        return float("nan"), float("nan")
    interval = bootstrap(
        (np.arange(len(tallies)),),
        lambda drawn, axis: _uar(tallies[drawn].sum(axis - 2)),  # a unit's tally adds two axes behind the drawn one
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        batch=max(1, _AT_ONCE // tallies.size),
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)
