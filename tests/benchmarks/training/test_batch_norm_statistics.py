"""A method is judged with batch-norm statistics of its training side under its present weights."""

import copy
import json

import pytest
import torch

from backbones import create_encoder
from benchmarks.data import FoldSide, leave_one_speaker_out
from benchmarks.methods import METHODS, create_method, method_class
from benchmarks.training import TrainingSettings, load_model
from benchmarks.training.batch_norm_statistics import fit_statistics
from benchmarks.training.device import make_accelerator
from tests.benchmarks.conftest import FRAMES
from tests.benchmarks.training.test_fit import train

pytestmark = pytest.mark.usefixtures("narrow_cnn")

SETTINGS = TrainingSettings(epochs=1, max_frames=FRAMES, batch_size=8)


def made(name, data):
    torch.manual_seed(0)
    needed = {"num_speakers": 2} if method_class(name).needs_speakers else {}
    method = create_method(name, create_encoder("cnn"), 4, **needed).train()
    fold = leave_one_speaker_out(data.utterances)[0]
    return method, FoldSide(data, fold.train, method, "error")


def statistics(method):
    return {name: buffer.clone() for name, buffer in method.named_buffers() if "running" in name}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gets_the_statistics_of_what_runs_in_inference_and_of_nothing_else(name, small_data):
    method, side = made(name, small_data)
    before = statistics(method)
    fit_statistics(method, side, 0, SETTINGS, make_accelerator("cpu", "fp32"))
    in_inference = {id(buffer) for module in method.inference_modules() for buffer in module.buffers()}
    for key, buffer in method.named_buffers():
        if "running" in key:
            assert torch.equal(buffer, before[key]) == (id(buffer) not in in_inference), key
    assert method.training


def test_the_statistics_of_the_input_are_those_of_the_training_speakers_alone(small_data):
    method, side = made("baseline", small_data)
    fit_statistics(method, side, 0, SETTINGS, make_accelerator("cpu", "fp32"))
    mean = torch.cat([small_data.inputs([i]) for i in side.indices]).mean((0, 1, 2))
    torch.testing.assert_close(method.encoder.mel_norm.running_mean, mean)


def test_a_method_that_hears_neutral_speech_in_inference_hears_it_here(small_data):
    method, side = made("dsc", small_data)
    other = copy.deepcopy(method)
    fit_statistics(method, side, 0, SETTINGS, make_accelerator("cpu", "fp32"))
    places = [*range(len(side.indices))]
    other.encoder.eval()
    other.auxiliary.mel_norm.momentum = 1.0
    other.auxiliary(side.unlabelled(places)["neutral"])
    found, expected = (m.auxiliary.mel_norm.running_mean for m in (method, other))
    torch.testing.assert_close(found, expected, rtol=0.2, atol=0.2)  # references count once a batch


def test_no_more_utterances_than_asked_for_go_through(small_data):
    method, side = made("baseline", small_data)
    rows = []
    method.encoder.register_forward_hook(lambda _, inputs, output: rows.append(len(output)))
    fit_statistics(method, side, 0, SETTINGS, make_accelerator("cpu", "fp32"), utterances=18)
    assert rows == [6, 6, 6]  # each with its share of every class and speaker


def test_random_numbers_of_the_training_do_not_depend_on_it(small_data):
    method, side = made("dsnet", small_data)
    state = torch.get_rng_state()
    fit_statistics(method, side, 0, SETTINGS, make_accelerator("cpu", "fp32"))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_model_on_disk_has_the_statistics_it_was_validated_with(small_data, tmp_path):
    train("baseline", small_data, tmp_path, SETTINGS)
    model, record = load_model(tmp_path)
    saved = statistics(model)
    fold = leave_one_speaker_out(small_data.utterances)[1]
    side = FoldSide(small_data, fold.train, model, "error", SETTINGS.seed)
    fit_statistics(model.train(), side, record.epoch - 1, SETTINGS, make_accelerator("cpu", "fp32"))
    torch.testing.assert_close(statistics(model), saved)
    assert json.loads((tmp_path / "result.json").read_text())["story"]["best_epoch"] == record.epoch
