import re
import warnings

import numpy as np
import pytest
import torch
from torchaudio.compliance.kaldi import get_mel_banks

from backbones import SAMPLE_RATE
from benchmarks.corpora import EMOTIONS
from benchmarks.data.protocols import leave_one_speaker_out
from benchmarks.deploy.demo_pictures import TrainingMap, as_html, spectrogram, training_maps
from benchmarks.grid.cell import run_cell
from benchmarks.grid.record import TRAINING_SPACES_NAME
from benchmarks.output.files import read_tensors
from benchmarks.training.checkpoint import load_model
from benchmarks.training.settings import TrainingSettings
from tests.benchmarks.in_memory import context_of, planned

FRAMES = 32


@pytest.fixture
def cloud():
    torch.manual_seed(0)
    return torch.randn(40, 6) * torch.tensor([9.0, 4.0, 1.0, 0.5, 0.5, 0.1]) + 5


def names(count):
    return [EMOTIONS[i % 4] for i in range(count)]


@pytest.mark.parametrize(("hertz", "second"), [(500, 0.4), (1_000, 1.1), (4_000, 0.75)])
def test_a_short_tone_lies_in_the_spectrogram_at_its_time_and_its_frequency(hertz, second):
    time = torch.arange(3 * SAMPLE_RATE // 2) / SAMPLE_RATE
    wave = torch.sin(2 * torch.pi * hertz * time) * ((time - second).abs() < 0.03) * 0.3
    axis = spectrogram(wave, 1_000).axes[0]
    image = axis.images[0]
    energy, (left, right, bottom, top) = image.get_array(), image.get_extent()
    loudest = energy.argmax() // energy.shape[1]
    y = bottom + (loudest + 0.5) * (top - bottom) / len(energy)
    ticks = {label.get_text(): place for label, place in zip(axis.get_yticklabels(), axis.get_yticks(), strict=True)}
    assert y == pytest.approx(ticks[f"{hertz:,}"], abs=(top - bottom) / len(energy))
    heard = np.flatnonzero(energy[loudest] > -6)
    x = left + (heard.mean() + 0.5) * (right - left) / energy.shape[1]
    assert x == pytest.approx(second, abs=0.004)
    assert energy.max() == 0
    assert axis.get_xlim() == (0, 1.5)


def test_each_bin_lies_at_its_centre_frequency():
    axis = spectrogram(torch.randn(SAMPLE_RATE), 1_000).axes[0]
    _, _, bottom, top = axis.images[0].get_extent()
    places = bottom + (np.arange(80) + 0.5) * (top - bottom) / 80
    _, centres = get_mel_banks(80, 512, SAMPLE_RATE, 0.0, 8_000.0, 0.0, 0.0, 1.0)
    np.testing.assert_allclose(700 * np.expm1(places / 1127), centres.flatten(), rtol=1e-4)


def test_what_the_model_does_not_hear_is_marked_and_a_long_recording_is_cut():
    def lines(seconds, frames):
        figure = spectrogram(torch.randn(int(seconds * SAMPLE_RATE)), frames)
        return [line.get_xdata()[0] for line in figure.axes[0].lines], figure.axes[0].get_xlim()[1]

    assert lines(1.0, 200) == ([], 1.0)
    assert lines(3.0, 98) == ([pytest.approx(0.995)], 3.0)  # 25 ms and 97 steps of 10 ms
    assert lines(45.0, 600)[1] == 30.0


@pytest.mark.parametrize("samples", [1, 400, 900])
def test_the_shortest_and_a_silent_recording_have_a_spectrogram(samples):
    assert as_html(spectrogram(torch.zeros(samples), 32), "silence").startswith("<img")


def test_the_plane_is_that_of_the_training_utterances_principal_components(cloud):
    own = TrainingMap("h", cloud, names(40))
    centred = (cloud - cloud.mean(0)).double().numpy()
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ axes[:2].T
    signs = np.sign((expected * own.points).sum(0))
    np.testing.assert_allclose(own.points, expected * signs, atol=1e-4)
    np.testing.assert_allclose(own.explained, values[:2] ** 2 / (values**2).sum(), atol=1e-6)


def test_a_training_utterance_is_placed_where_it_is_and_another_moves_nothing(cloud):
    own = TrainingMap("h", cloud, names(40))
    before = own.points.copy()
    np.testing.assert_allclose(own.place(cloud[7]), before[7], atol=1e-4)
    axis = own.figure(cloud.mean(0) + 100).axes[0]
    star = axis.collections[-1]
    assert star.get_label() == "this recording"
    np.testing.assert_allclose(star.get_offsets()[0], own.place(cloud.mean(0) + 100))
    np.testing.assert_array_equal(own.points, before)


def test_the_map_shows_each_emotions_utterances_and_the_variance_of_each_axis(cloud):
    own = TrainingMap("z_er", cloud, names(40))
    axis = own.figure().axes[0]
    assert [points.get_label() for points in axis.collections] == list(EMOTIONS)
    for points in axis.collections:
        np.testing.assert_array_equal(points.get_offsets(), own.points[own.emotions == points.get_label()])
    shares = [round(100 * share) for share in own.explained]
    assert axis.get_xlabel() == f"component 1, {shares[0]}% of variance"
    assert axis.get_ylabel() == f"component 2, {shares[1]}% of variance"
    assert shares[0] > shares[1] > 0


def test_a_space_in_which_all_utterances_are_one_point_has_a_map_of_no_variance():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own = TrainingMap("z_ei", torch.ones(9, 4), names(9))
        own.figure(torch.ones(4))
    assert own.explained.tolist() == [0, 0]


def test_an_image_says_what_it_shows_and_nothing_of_it_is_markup(cloud):
    html = as_html(TrainingMap("h", cloud, names(40)).figure(), 'a "quoted" <b>')
    assert re.fullmatch(
        r'<img src="data:image/png;base64,[\w+/=]+" alt="a &quot;quoted&quot; &lt;b&gt;" style="[^"]+">', html
    )


def test_training_keeps_the_training_utterances_and_their_maps_are_those_of_the_model(
    small_corpus, small_data, tmp_path
):
    settings = TrainingSettings(epochs=1, max_frames=FRAMES)
    for name in ("dsnet", "baseline"):
        run_cell(planned(name, settings, 1, folder=f"{name}/fold-01"), context_of(small_data, tmp_path))
    train = leave_one_speaker_out(small_corpus.utterances)[1].train
    fold = tmp_path / "dsnet" / "fold-01"
    tensors, record = read_tensors(fold / TRAINING_SPACES_NAME)
    assert len(record["emotion"]) == len(train)
    assert set(record["split"]) == {"train"}
    assert sorted(record["speaker"]) == sorted(small_corpus.utterances[i].speaker for i in train)
    model, _ = load_model(fold)
    with torch.no_grad():
        found = model.spaces(small_data.inputs(train))
    for name in ("h", "z_er", "z_ei"):
        close = torch.cdist(found[name], tensors[name]).min(1)
        assert close.values.max() < 1e-4
        assert [record["emotion"][i] for i in close.indices] == small_data.labels[train].tolist()
    assert [own.name for own in training_maps(fold / "best.safetensors")] == ["z_er", "z_ei"]
    assert [own.name for own in training_maps(tmp_path / "baseline" / "fold-01")] == ["h"]


def test_a_folder_of_an_older_training_has_no_maps(tmp_path):
    assert training_maps(tmp_path) == []
