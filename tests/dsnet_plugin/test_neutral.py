"""Neutral references: who stands for whom, and that no reference is trained on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import pairwise_distances

from dsnet_plugin import ConfigError, NeutralReferenceError, NeutralReferences, ShapeError

STRATEGIES = ["random", "first", "medoid", "per_epoch"]
SPEAKERS = ["ann"] * 8 + ["bob"] * 8 + ["eve"] * 2
NEUTRAL = [True, False] * 8 + [True, False]


def make(strategy="random", speakers=SPEAKERS, neutral=NEUTRAL, **options):
    if strategy == "medoid":
        options["features"] = torch.randn(len(speakers), 4, generator=torch.Generator().manual_seed(0))
    return NeutralReferences(speakers, neutral, strategy, **options)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_references_are_distinct_neutral_utterances_of_the_speaker(strategy, k):
    references = make(strategy, k=k)
    for speaker, available in {"ann": 4, "bob": 4, "eve": 1}.items():
        own = references.of(speaker)
        assert len(own) == len(set(own)) == min(k, available)
        assert all(NEUTRAL[i] and SPEAKERS[i] == speaker for i in own)


@pytest.mark.parametrize(("k", "expected"), [(1, [0]), (3, [0, 2, 4])])
def test_first_takes_the_first_in_the_order_given(k, expected):
    assert make("first", k=k).of("ann") == expected


@pytest.mark.parametrize("k", [1, 2])
def test_medoid_is_nearest_to_the_mean_of_the_speakers_neutral_features(k):
    features = torch.randn(40, 5, generator=torch.Generator().manual_seed(3))
    speakers, neutral = ["a", "b"] * 20, [i % 3 != 0 for i in range(40)]
    references = NeutralReferences(speakers, neutral, "medoid", k=k, features=features)
    for speaker in "ab":
        own = [i for i in range(40) if speakers[i] == speaker and neutral[i]]
        points = features[own].double().numpy()
        distances = pairwise_distances(points, points.mean(axis=0, keepdims=True)).ravel()
        assert references.of(speaker) == [own[i] for i in distances.argsort()[:k]]


@pytest.mark.parametrize("strategy", ["random", "per_epoch"])
def test_draws_follow_the_seed(strategy):
    def drawn(seed):
        return [make(strategy, seed=seed).of(speaker, epoch=1) for speaker in ("ann", "bob")]

    assert drawn(0) == drawn(0)
    assert len({str(drawn(seed)) for seed in range(10)}) > 1


def test_draws_depend_on_the_epoch_only_per_epoch():
    assert len({tuple(make("random").of("ann", epoch)) for epoch in range(20)}) == 1
    assert len({tuple(make("per_epoch").of("ann", epoch)) for epoch in range(20)}) > 1


@pytest.mark.parametrize("strategy", ["random", "per_epoch", "first"])
@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.lists(st.sampled_from("cdef"), max_size=12), st.integers(0, 99))
def test_a_speakers_draw_does_not_depend_on_the_other_speakers(strategy, others, seed):
    alone = make(strategy, ["ann"] * 6, [True] * 6, seed=seed, missing="mask")
    among = make(strategy, ["ann"] * 6 + others, [True] * (6 + len(others)), seed=seed, missing="mask")
    assert alone.of("ann", epoch=2) == among.of("ann", epoch=2)


corpora = st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), min_size=1, max_size=30).filter(
    lambda corpus: any(neutral for _, neutral in corpus)
)


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(deadline=None, max_examples=30, derandomize=True)
@given(corpora, st.integers(1, 3), st.integers(0, 5), st.sampled_from(["drop", "mask"]))
def test_the_training_set_is_all_but_references_and_dropped_speakers(strategy, corpus, k, epoch, missing):
    speakers, neutral = map(list, zip(*corpus, strict=True))
    references = make(strategy, speakers, neutral, k=k, missing=missing)
    used = {i for speaker in set(speakers) for i in references.of(speaker, epoch)}
    with_neutral = {speaker for speaker, is_neutral in corpus if is_neutral}
    allowed = with_neutral if missing == "drop" else set(speakers)
    expected = [i for i in range(len(corpus)) if i not in used and speakers[i] in allowed]
    assert references.training_indices(epoch) == expected


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(deadline=None, max_examples=30, derandomize=True)
@given(corpora, st.integers(1, 3), st.integers(0, 5), st.randoms(use_true_random=False))
def test_a_batch_holds_each_reference_once_and_leads_each_row_to_its_own(strategy, corpus, k, epoch, random):
    speakers, neutral = map(list, zip(*corpus, strict=True))
    references = make(strategy, speakers, neutral, k=k, missing="mask")
    indices = [random.randrange(len(corpus)) for _ in range(9)]
    batch = references.batch(indices, epoch)
    assert len(set(batch.references.tolist())) == len(batch.references)
    assert batch.neutral_index.shape == ((9,) if k == 1 else (9, k))
    used = {reference for i in indices for reference in references.of(speakers[i], epoch)}
    assert used == set(batch.references.tolist())
    for i, places, has in zip(indices, batch.neutral_index.reshape(9, k), batch.neutral_mask, strict=True):
        own = references.of(speakers[i], epoch)
        assert bool(has) == bool(own)
        if own:
            assert batch.references[places].tolist() == [own[j % len(own)] for j in range(k)]
        else:
            assert places.tolist() == [0] * k


def test_a_batch_of_one_speaker_encodes_one_reference():
    batch = make().batch([1, 3, 5, 7])
    assert batch.references.shape == (1,)
    assert batch.neutral_index.tolist() == [0, 0, 0, 0]
    assert batch.neutral_mask.all()


def test_a_speaker_with_fewer_than_k_repeats_them_in_turn():
    speakers, neutral = ["a"] * 3 + ["b"], [True, True, False, True]
    batch = NeutralReferences(speakers, neutral, "first", k=3).batch([2, 3])
    assert batch.references[batch.neutral_index].tolist() == [[0, 1, 0], [3, 3, 3]]


def test_missing_neutral_speech_names_the_speakers_and_the_ways_out():
    with pytest.raises(NeutralReferenceError, match=r"no neutral utterance of bob, zoe among the 4.*'drop'.*'mask'"):
        NeutralReferences(["zoe", "ann", "bob", "ann"], [False, True, False, False])


@pytest.mark.parametrize("missing", ["error", "drop", "mask"])
def test_a_corpus_without_any_neutral_speech_is_refused(missing):
    with pytest.raises(NeutralReferenceError, match="no neutral utterance of a, b"):
        NeutralReferences(["a", "b"], [False, False], missing=missing)


@pytest.mark.parametrize(("missing", "kept"), [("drop", [1]), ("mask", [1, 2, 3])])
def test_speakers_without_neutral_speech_are_dropped_or_masked(missing, kept):
    references = NeutralReferences(["a", "a", "b", "b"], [True, False, False, False], missing=missing)
    assert references.without_neutral == ["b"]
    assert references.of("b") == []
    assert references.training_indices() == kept
    batch = references.batch([1, 2])
    assert batch.neutral_mask.tolist() == [True, False]
    assert batch.neutral_index.tolist() == [0, 0]


def test_an_unknown_speaker_is_named_with_the_known_ones():
    with pytest.raises(NeutralReferenceError, match="unknown speaker 'joe'; known: ann, bob, eve"):
        make().of("joe")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"strategy": "best"},
            ConfigError,
            "strategy='best': expected one of 'random', 'first', 'medoid', 'per_epoch'",
        ),
        ({"missing": "skip"}, ConfigError, "missing='skip': expected one of 'error', 'drop', 'mask'"),
        ({"k": 0}, ConfigError, "k=0: expected at least 1"),
        ({"strategy": "medoid"}, ConfigError, "'medoid' needs it"),
        ({"features": torch.zeros(2, 3)}, ConfigError, "strategy='random'.*goes with 'medoid'"),
        ({"neutral": [True]}, ShapeError, "2 speakers, 1 neutral flags: expected one of each"),
        ({"strategy": "medoid", "features": torch.zeros(3, 1)}, ShapeError, "2 speakers, 2 .*, 3 rows of features"),
    ],
)
def test_arguments_that_do_not_fit_are_named(options, error, message):
    with pytest.raises(error, match=message):
        NeutralReferences(**{"speakers": ["a", "a"], "neutral": [True, False]} | options)
