"""Every number once more by another way: loops, ``evaluation.uar``, itertools, scipy's own tests."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, kstest, wilcoxon

from benchmarks.errors import RunError
from benchmarks.scores import uar as evaluation
from benchmarks.scores.predictions import Predictions
from benchmarks.scores.statistics import (
    compare,
    detectable_difference,
    holm,
    interval_over_speakers,
    interval_over_utterances,
    mean_uar,
    paired_permutation,
    recall_by_class,
    uar_by_sex,
    uar_by_speaker,
    worst_speaker,
)

PROPERTY = settings(deadline=None, max_examples=40, derandomize=True)
seeds = st.integers(0, 2**16)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def corpus(utterances=60, speakers=6, seed=0, classes=4):
    """Truth, and speakers in no order, of whom some lack a class where there are few utterances."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, classes, utterances), rng.choice([f"s{i}" for i in range(speakers)], utterances)


def predictions(data, rate, seed, replicas=3, sex=None):
    """Replicas that hit with this probability, and else guess; a rate for each speaker is a dict."""
    truth, speaker = data
    rng = np.random.default_rng(seed)
    rates = np.array([rate[name] for name in speaker]) if isinstance(rate, dict) else rate
    hit = rng.random((replicas, len(truth))) < rates
    return Predictions(truth, np.where(hit, truth, rng.integers(0, 4, hit.shape)), speaker, sex or {})


def part(found, chosen):
    return Predictions(found.truth[chosen], found.predicted[:, chosen], found.speaker[chosen])


def by_hand(found):
    recalls = [
        [np.mean(replica[found.truth == label] == label) for label in set(found.truth.tolist())]
        for replica in found.predicted
    ]
    return 100 * np.mean(recalls)


# --- the statistic and its groups -------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:A single label was found")
@PROPERTY
@given(seeds, st.integers(1, 25), st.integers(1, 4))
def test_the_statistic_is_the_mean_over_replicas_of_their_uar(seed, utterances, classes):
    found = predictions(corpus(utterances, 3, seed, classes), 0.4, seed)
    assert mean_uar(found) == pytest.approx(by_hand(found))
    assert mean_uar(found) == pytest.approx(np.mean([evaluation.uar(found.truth, own) for own in found.predicted]))
    recalls = np.mean([evaluation.recalls(found.truth, replica) for replica in found.predicted], axis=0)
    assert recall_by_class(found) == pytest.approx(recalls, nan_ok=True)


@PROPERTY
@given(seeds, st.integers(1, 25), st.integers(1, 4))
def test_a_speakers_uar_counts_the_classes_this_speaker_has(seed, utterances, classes):
    found = predictions(corpus(utterances, 3, seed, classes), 0.4, seed)
    expected = {name: by_hand(part(found, found.speaker == name)) for name in sorted(set(found.speaker.tolist()))}
    assert uar_by_speaker(found) == pytest.approx(expected)
    assert list(uar_by_speaker(found)) == list(expected)
    name, worst = worst_speaker(found)
    assert worst == pytest.approx(min(expected.values()))
    assert expected[name] == pytest.approx(worst)


def test_a_class_that_the_truth_lacks_is_nan_and_not_counted():
    found = Predictions(np.array([0, 0, 1]), np.array([[0, 3, 1], [0, 0, 2]]), np.array(["a"] * 3))
    assert recall_by_class(found) == pytest.approx([75, 50, np.nan, np.nan], nan_ok=True)
    assert mean_uar(found) == pytest.approx(62.5)


def test_uar_by_sex_pools_the_speakers_of_a_sex_and_leaves_out_those_of_none():
    data = corpus()
    sex = {"s0": "F", "s1": "F", "s2": "M", "s3": "M", "s4": None}
    found = predictions(data, 0.5, 1, sex=sex)
    expected = {"F": by_hand(part(found, np.isin(data[1], ["s0", "s1"])))}
    expected["M"] = by_hand(part(found, np.isin(data[1], ["s2", "s3"])))
    assert uar_by_sex(found) == pytest.approx(expected)


def test_a_sex_of_which_there_is_nobody_is_nan():
    found = uar_by_sex(predictions(corpus(), 0.5, 1, sex={"s0": "F"}))
    assert found["F"] > 0
    assert np.isnan(found["M"])


# --- intervals --------------------------------------------------------------------------------------------------------


def test_the_interval_over_utterances_is_the_bootstrap_written_out():
    found = predictions(corpus(80), 0.6, 2)
    rng = np.random.default_rng(5)
    drawn = [by_hand(part(found, rng.integers(0, 80, 80))) for _ in range(1500)]
    assert interval_over_utterances(found) == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=1.5)


def test_the_interval_over_speakers_is_the_bootstrap_of_whole_speakers_written_out():
    """Speakers that differ much, so that the interval over utterances is far from it."""
    rate = {f"s{i}": i / 8 for i in range(8)}
    found = predictions(corpus(160, 8), rate, 3)
    rng = np.random.default_rng(5)
    drawn = []
    for _ in range(1500):
        chosen = [np.flatnonzero(found.speaker == f"s{i}") for i in rng.integers(0, 8, 8)]
        drawn.append(by_hand(part(found, np.concatenate(chosen))))
    low, high = interval_over_speakers(found)
    assert (low, high) == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=2)
    narrow = interval_over_utterances(found)
    assert high - low > 1.5 * (narrow[1] - narrow[0])


@pytest.mark.parametrize("interval", [interval_over_utterances, interval_over_speakers])
def test_an_interval_holds_the_figure_and_depends_on_the_seed_alone(interval):
    found = predictions(corpus(), 0.5, 1)
    low, high = interval(found, seed=3)
    assert low < mean_uar(found) < high
    assert (low, high) == interval(found, seed=3)
    assert (low, high) != interval(found, seed=4)


def test_the_interval_over_utterances_holds_the_true_rate_about_as_often_as_it_says():
    rate = 0.6
    held = 0
    for seed in range(60):
        low, high = interval_over_utterances(predictions(corpus(200, seed=seed), rate, seed, replicas=1), seed)
        held += low <= 100 * (rate + (1 - rate) / 4) <= high
    assert binomtest(held, 60, 0.95).pvalue > 0.01


def test_of_fewer_than_five_units_there_is_no_interval():
    found = predictions(corpus(40, speakers=4), 0.5, 1)
    assert np.isnan(interval_over_speakers(found)).all()
    assert not np.isnan(interval_over_utterances(found)).any()
    assert np.isnan(interval_over_utterances(part(found, range(4)))).all()
    assert not np.isnan(interval_over_speakers(predictions(corpus(40, speakers=5), 0.5, 1))).any()


# --- the permutation test ---------------------------------------------------------------------------------------------


def enumerated(a, b, groups):
    """All swaps of groups of utterances, each with the whole statistic computed anew."""
    observed = abs(by_hand(a) - by_hand(b))
    extreme = []
    for swaps in itertools.product([False, True], repeat=len(groups)):
        swapped = np.zeros(len(a.truth), bool)
        for group, swap in zip(groups, swaps, strict=True):
            swapped[group] = swap
        first = Predictions(a.truth, np.where(swapped, b.predicted, a.predicted), a.speaker)
        second = Predictions(a.truth, np.where(swapped, a.predicted, b.predicted), a.speaker)
        extreme.append(abs(by_hand(first) - by_hand(second)) >= observed - 1e-9)
    return np.mean(extreme)


@pytest.mark.parametrize("seed", range(8))
def test_over_speakers_p_is_the_share_of_all_swaps_that_differ_as_much(seed):
    data = corpus(30, 5, seed)
    a, b = predictions(data, 0.6, seed, replicas=2), predictions(data, 0.3, seed + 100, replicas=2)
    groups = [np.flatnonzero(data[1] == name) for name in np.unique(data[1])]
    assert paired_permutation(a, b, "speaker") == pytest.approx(enumerated(a, b, groups))


@pytest.mark.parametrize("seed", range(4))
def test_over_utterances_p_is_the_share_of_all_swaps_that_differ_as_much(seed):
    data = corpus(7, 2, seed)
    a, b = predictions(data, 0.7, seed, replicas=2), predictions(data, 0.2, seed + 100, replicas=2)
    assert paired_permutation(a, b) == pytest.approx(enumerated(a, b, [[i] for i in range(7)]))


@pytest.mark.parametrize(("unit", "utterances"), [("utterance", 13), ("speaker", 40)])
def test_sampled_p_comes_near_the_exact_one(unit, utterances):
    data = corpus(utterances, 13, 3)
    a, b = predictions(data, 0.6, 1, replicas=9), predictions(data, 0.5, 2, replicas=9)
    exact = paired_permutation(a, b, unit, permutations=2**13)
    assert 0.02 < exact < 0.9
    sampled = paired_permutation(a, b, unit, permutations=900, seed=1)
    assert sampled == pytest.approx(exact, abs=4 * np.sqrt(exact / 900))
    assert sampled != exact


def test_units_that_both_hit_equally_often_leave_the_test_exact():
    data = corpus(100, 10)
    a = predictions(data, 0.5, 1)
    other = a.predicted.copy()
    other[:, 10:16] = (data[0][10:16] + 1) % 4
    b = Predictions(a.truth, other, a.speaker)
    assert paired_permutation(a, b, permutations=100) == pytest.approx(enumerated(a, b, [[i] for i in range(10, 16)]))


def test_a_sampled_p_counts_the_observed_swap_in():
    """Both tails, each with the one that was seen."""
    data = corpus(200)
    assert paired_permutation(predictions(data, 1.0, 1), predictions(data, 0.0, 2), permutations=99) == 2 / 100


def test_no_fewer_speakers_can_give_a_smaller_p_than_all_swaps_allow():
    data = corpus(200, 5)
    assert paired_permutation(predictions(data, 1.0, 1), predictions(data, 0.0, 2), "speaker") == 2 / 2**5


def test_a_clearly_better_method_gets_a_small_p_and_which_is_first_does_not_matter():
    data = corpus(300, 12)
    better, worse = predictions(data, 0.7, 1), predictions(data, 0.5, 2)
    for unit in ("utterance", "speaker"):
        p = paired_permutation(better, worse, unit)
        assert p < 0.01
        assert paired_permutation(worse, better, unit) == pytest.approx(p, abs=0.005)


def test_a_difference_that_one_speaker_makes_is_none_over_speakers():
    """The trap of utterances that depend on each other: one speaker's 100 utterances are one piece of evidence."""
    truth, speaker = np.arange(200) % 4, np.repeat([f"s{i:02}" for i in range(10)], [110, *[10] * 9])
    same = predictions((truth, speaker), 0.5, 1).predicted
    better = np.where(speaker == "s00", truth, same)
    a, b = Predictions(truth, better, speaker), Predictions(truth, same, speaker)
    assert paired_permutation(a, b) < 0.001
    assert paired_permutation(a, b, "speaker") == 1


@pytest.mark.parametrize("unit", ["utterance", "speaker"])
def test_equal_predictions_have_a_p_of_1(unit):
    found = predictions(corpus(), 0.5, 1)
    assert paired_permutation(found, found, unit) == 1
    # Other errors, the same hits.
    other = np.where(found.predicted == found.truth, found.truth, (found.truth + 1) % 4)
    assert paired_permutation(found, Predictions(found.truth, other, found.speaker), unit) == 1


def test_methods_of_the_same_uar_by_other_hits_have_a_p_of_1():
    """Shares of thirds and fifths that cancel but for rounding."""
    truth = np.repeat([0, 1], [6, 10])
    a, b = np.where(np.arange(16) % 2, truth, 3), np.where(np.arange(16) % 2, 3, truth)
    speaker = np.array(["s"] * 16)
    a, b = Predictions(truth, a[None], speaker), Predictions(truth, b[None], speaker)
    assert mean_uar(a) == pytest.approx(mean_uar(b))
    for permutations in (9999, 2**16):
        assert paired_permutation(a, b, permutations=permutations) == 1


def test_of_many_utterances_of_one_class_it_is_mcnemars_exact_test():
    hits = np.random.default_rng(4).random((2, 60)) < [[0.75], [0.5]]
    a, b = (Predictions(np.zeros(60, int), np.where(own, 0, 1)[None], np.array(["s"] * 60)) for own in hits)
    only_a, only_b = (hits[0] & ~hits[1]).sum(), (hits[1] & ~hits[0]).sum()
    expected = binomtest(only_a, only_a + only_b, 0.5).pvalue
    assert 0.001 < expected < 0.5
    assert paired_permutation(a, b, permutations=40_000) == pytest.approx(expected, rel=0.15)


def test_without_a_difference_p_is_about_uniform():
    found = []
    for seed in range(500):
        data = corpus(120, 12, [seed, 0])
        a, b = predictions(data, 0.5, [seed, 1]), predictions(data, 0.5, [seed, 2])
        found.append([paired_permutation(a, b, unit, permutations=400) for unit in ("utterance", "speaker")])
    for column in np.transpose(found):
        assert kstest(column, "uniform").pvalue > 0.01
        assert binomtest(int((column <= 0.05).sum()), 500, 0.05).pvalue > 0.01


def test_p_agrees_with_the_signed_rank_test_in_kind():
    """Another test of the same question, on the speakers' UARs."""
    data = corpus(600, 12, 1)
    for rate in (0.45, 0.55, 0.65):
        a, b = predictions(data, 0.5, 5), predictions(data, rate, 6)
        other = wilcoxon(list(uar_by_speaker(a).values()), list(uar_by_speaker(b).values())).pvalue
        assert (paired_permutation(a, b, "speaker") < 0.05) == (other < 0.05)


def test_other_utterances_and_unknown_units_are_refused():
    a = predictions(corpus(), 0.5, 1)
    with pytest.raises(RunError, match="on the same utterances alone"):
        paired_permutation(a, predictions(corpus(seed=1), 0.5, 1))
    with pytest.raises(RunError, match="unit 'fold'; expected utterance or speaker"):
        paired_permutation(a, a, "fold")


# --- several methods --------------------------------------------------------------------------------------------------


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == pytest.approx([0.02])
    assert len(holm([])) == 0


@PROPERTY
@given(P_VALUES, st.floats(0.001, 0.5))
def test_holm_rejects_what_its_steps_reject(p_values, alpha):
    """The procedure as Holm wrote it: go on while the smallest is at most alpha / (how many are left)."""
    rejected, left = set(), sorted(range(len(p_values)), key=p_values.__getitem__)
    while left and p_values[left[0]] * len(left) <= alpha:
        rejected.add(left.pop(0))
    adjusted = holm(p_values)
    assert {i for i, p in enumerate(adjusted) if p <= alpha} == rejected


@PROPERTY
@given(P_VALUES, st.randoms(use_true_random=False))
def test_holm_lies_between_p_and_bonferroni_keeps_the_order_and_goes_with_its_p(p_values, random):
    p, adjusted = np.array(p_values), holm(p_values)
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(1, p * len(p))).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()
    order = random.sample(range(len(p)), len(p))
    assert holm(p[order]) == pytest.approx(adjusted[order])


def methods():
    data = corpus(240, 8)
    rates = {"baseline": 0.45, "isnet": 0.55, "dann": 0.5, "dsnet": 0.65, "dsnet_rec": 0.46}
    return {name: predictions(data, rate, seed) for seed, (name, rate) in enumerate(rates.items())}


def test_each_method_is_compared_with_the_baseline_and_with_the_best_that_is_not_ours():
    data = methods()
    found = {row.method: row for row in compare(data, permutations=500, seed=2)}
    assert list(found) == list(data)
    assert max(found.values(), key=lambda row: row.uar).method == "dsnet"
    for name, row in found.items():
        assert row.uar == mean_uar(data[name])
        for versus, other in ((row.baseline, "baseline"), (row.best, "isnet")):
            if name == other:
                assert versus is None
                continue
            assert versus.other == other
            assert versus.difference == pytest.approx(row.uar - mean_uar(data[other]))
            tested = [method for method in data if method != other]
            for unit, p in (("utterance", versus.p_utterance), ("speaker", versus.p_speaker)):
                raw = [paired_permutation(data[method], data[other], unit, 500, 2) for method in tested]
                assert p == pytest.approx(holm(raw)[tested.index(name)])
    assert found["dsnet"].baseline.p_utterance < 0.05 < found["dsnet_rec"].baseline.p_utterance
    assert found["dsnet"].baseline.p_utterance != found["dsnet"].baseline.p_speaker


def test_the_baseline_may_itself_be_the_best_comparator():
    data = {name: methods()[name] for name in ("baseline", "dsnet")}
    baseline, dsnet = compare(data, permutations=100)
    assert (baseline.baseline, baseline.best) == (None, None)
    assert dsnet.baseline == dsnet.best


def test_a_comparison_without_a_baseline_or_a_comparator_is_refused():
    data = methods()
    with pytest.raises(RunError, match=r"methods dsnet, isnet: expected baseline among them"):
        compare({name: data[name] for name in ("dsnet", "isnet")})
    with pytest.raises(RunError, match="one whose name does not begin with dsnet"):
        compare({"dsnet": data["dsnet"]}, baseline="dsnet")


# --- what a study could have seen -------------------------------------------------------------------------------------


def study(effect, seed, speakers=24):
    """Two methods on 20 utterances of each speaker; the second hits more often by ``effect``, which varies with the speaker."""
    rng = np.random.default_rng(seed)
    truth, speaker = np.tile(np.arange(4), 5 * speakers), np.repeat([f"s{i:02}" for i in range(speakers)], 20)
    gain = np.repeat(effect + rng.normal(0, 0.1, speakers), 20)
    first, second = (rng.random(len(truth)) < rate for rate in (0.6, 0.6 + gain))
    return tuple(Predictions(truth, np.where(hit, truth, (truth + 1) % 4)[None], speaker) for hit in (second, first))


def test_a_true_difference_of_the_detectable_size_is_found_in_four_of_five_studies():
    said = np.mean([detectable_difference(*study(0.1, seed)) for seed in range(50)])
    found = [paired_permutation(*study(said / 100, 1000 + seed), "speaker", 199) <= 0.05 for seed in range(200)]
    assert 0.7 < np.mean(found) < 0.9


def test_with_more_speakers_a_smaller_difference_can_be_seen():
    few, many = (np.mean([detectable_difference(*study(0.1, s, n)) for s in range(20)]) for n in (10, 40))
    assert 1.7 < few / many < 2.3


def test_of_fewer_than_five_speakers_nothing_is_said():
    assert np.isnan(detectable_difference(*study(0.1, 0, speakers=4)))
