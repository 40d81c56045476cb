"""What a trained model hears of a recording."""

import pytest
import torch

from backbones import create_encoder
from benchmarks.data import EncoderSpec
from benchmarks.deploy.recogniser import Recogniser
from benchmarks.methods import create_method
from benchmarks.training.checkpoint import ModelRecord, save_model
from tests.benchmarks.deploy.test_export import CLASSES, shake


def saved(folder, onset):
    torch.manual_seed(0)
    model = create_method("baseline", create_encoder("cnn"), len(CLASSES))
    shake(model)
    save_model(folder / "best.safetensors", model, ModelRecord("baseline", {}, EncoderSpec(), CLASSES, 48, onset=onset))
    return Recogniser(folder)


def test_a_model_trained_from_the_first_sound_on_hears_a_recording_from_there(tmp_path):
    speech = torch.sin(torch.arange(9_600) * 0.3) * torch.linspace(0.5, 1, 9_600)
    late = torch.cat([torch.zeros(16_000), speech])
    from_sound = saved(tmp_path, 30.0)
    assert from_sound.probabilities(late) == pytest.approx(from_sound.probabilities(speech))
    whole = saved(tmp_path, None)
    assert whole.probabilities(speech) == pytest.approx(from_sound.probabilities(speech))
    assert whole.probabilities(late) != pytest.approx(whole.probabilities(speech), abs=1e-3)
