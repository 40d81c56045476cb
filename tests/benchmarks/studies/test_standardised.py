"""Standardised utterances are each speaker's own, over the utterances that the form says."""

from pathlib import Path

import pytest
import torch

from benchmarks.corpora import EMOTIONS, Utterance
from benchmarks.data import SpeechData
from benchmarks.studies.standardised import STANDARDISED, Standardisation, standardised

SPEAKERS = (slice(0, None, 2), slice(1, None, 2))


@pytest.fixture
def data():
    """40 utterances of two speakers who take turns, in four emotions."""
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn(2, 16, generator=generator) * (1 + i % 2) + 5 * (i % 2) for i in range(40)]
    utterances = [Utterance(str(i), Path(), "ab"[i % 2], EMOTIONS[i // 2 % 4]) for i in range(40)]
    return SpeechData(utterances, features, 50, torch.device("cpu"), "encoded")


def centred(features):
    """Whether these are in units of their own spread around their own mean."""
    return bool(features.mean(0).abs().max() < 1e-5 and (features.std(0, correction=0) - 1).abs().max() < 1e-3)


def test_all_of_a_speaker_s_utterances_are_in_units_of_their_own_spread(data):
    before = torch.stack(data.features).clone()
    found = standardised(data, Standardisation()).inputs(range(40))
    assert all(centred(found[own]) for own in SPEAKERS)
    assert torch.equal(data.inputs(range(40)), before)  # what other forms hear stays as it is


def test_a_draw_of_ten_gives_each_speaker_one_shift_and_one_scale_that_are_not_those_of_all(data):
    all_of_them = standardised(data, Standardisation()).inputs(range(40))
    ten = standardised(data, Standardisation(10)).inputs(range(40))
    for own in SPEAKERS:
        scale = ten[own].std(0)
        shift = ten[own] - all_of_them[own] * (scale / all_of_them[own].std(0))
        torch.testing.assert_close(shift, shift[:1].expand_as(shift), atol=1e-4, rtol=0)
        assert (scale - 1).abs().max() > 1e-3


@pytest.mark.parametrize("form", ["baseline-standardised-10-neutral", "baseline-standardised-10-one"])
def test_a_test_speaker_who_was_heard_in_one_emotion_is_centred_on_it_and_a_training_speaker_is_not(data, form):
    over = STANDARDISED[form]
    emotions = [utterance.label for utterance in data.utterances]

    def centres(testing):
        found = standardised(data, over, testing).inputs(range(40))
        return [
            [emotion for emotion in EMOTIONS if centred(found[own][[e == emotion for e in emotions[own]]])]
            for own in SPEAKERS
        ]

    tested = centres(testing=True)
    assert [len(of_speaker) for of_speaker in tested] == [1, 1]
    if over.test_speech == "neutral":
        assert tested == [["neutral"], ["neutral"]]
    assert centres(testing=False) == [[], []]
    even = standardised(data, Standardisation(10)).inputs(range(40))
    assert torch.equal(standardised(data, over).inputs(range(40)), even)
