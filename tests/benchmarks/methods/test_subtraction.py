"""Subtraction: by hand, what it makes a model blind to, and what it refuses."""

import pytest
import torch

from backbones import FeatureEncoder, create_encoder
from benchmarks.methods import Speakers, Subtraction, create_method
from dsnet_plugin import ConfigError

INDEX = torch.tensor([0, 1, 0, 1])


def make(encoder):
    torch.manual_seed(0)
    return create_method("subtraction", encoder, 4).eval()


def encoded():
    return FeatureEncoder(3, 8), torch.randn(4, 3, 8), torch.randn(2, 3, 8)


def test_an_encoded_utterance_loses_its_speakers_sentence():
    encoder, x, neutral = encoded()
    method = make(encoder)
    by_hand = method.classifier(encoder(x - torch.stack([neutral[0], neutral[1], neutral[0], neutral[1]])))
    assert torch.allclose(method(x, neutral=neutral, neutral_index=INDEX), by_hand, atol=1e-6)


def test_several_sentences_are_averaged():
    encoder, x, neutral = encoded()
    method = make(encoder)
    both = torch.tensor([[0, 1]] * 4)
    assert torch.allclose(
        method(x, neutral=neutral, neutral_index=both), method.classifier(encoder(x - neutral.mean(0))), atol=1e-6
    )


def test_log_mel_features_lose_the_sentences_mean_over_time_in_each_band_and_channel():
    method = make(create_encoder("cnn"))
    x, neutral = torch.randn(4, 3, 32, 80), torch.randn(4, 3, 48, 80)
    by_hand = method.classifier(method.encoder(x - neutral.mean(2)[:, :, None]))
    assert torch.allclose(method(x, neutral=neutral), by_hand, atol=1e-5)


def test_what_a_room_adds_to_every_recording_of_a_speaker_changes_no_answer():
    method = make(create_encoder("cnn"))
    x, neutral, room = torch.randn(4, 3, 32, 80), torch.randn(2, 3, 32, 80), torch.randn(2, 3, 1, 80)
    before = method(x, neutral=neutral, neutral_index=INDEX)
    assert torch.allclose(method(x + room[INDEX], neutral=neutral + room, neutral_index=INDEX), before, atol=1e-5)
    assert not torch.allclose(method(x + room[INDEX], neutral=neutral, neutral_index=INDEX), before, atol=1e-3)


def test_a_row_without_neutral_speech_is_taken_as_it_is():
    encoder, x, neutral = encoded()
    method = make(encoder)
    mask = torch.tensor([True, False, True, False])
    logits = method(x, neutral=neutral, neutral_index=INDEX, neutral_mask=mask)
    assert torch.allclose(logits[~mask], method(x)[~mask], atol=1e-6)
    assert not torch.allclose(logits[mask], method(x)[mask], atol=1e-2)


def test_the_sentences_are_not_trained_on():
    method = make(FeatureEncoder(1, 8))
    speakers = Speakers(["a"] * 4 + ["b"] * 4, [True] * 8, lambda: torch.zeros(8, 1), "error", seed=0)
    references = method.pairing(speakers)
    trained = references.training_indices()
    assert len(trained) == 6
    assert not {*references.of("a"), *references.of("b")} & set(trained)


def test_an_encoder_of_waveforms_is_refused():
    encoder = FeatureEncoder(1, 8)
    encoder.input_kind = "waveform"
    with pytest.raises(ConfigError, match="takes waveforms; freeze it"):
        Subtraction(encoder, 4)
