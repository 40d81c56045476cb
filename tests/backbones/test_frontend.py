"""The front end against an independent Kaldi filter bank, and an explicit regression for the deltas."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backbones import SAMPLE_RATE, LogMelFilterBank, add_deltas, fit_frames, log_mel
from dsnet_plugin import DSNetError, ShapeError

PROPERTY = settings(deadline=None, max_examples=30, derandomize=True)


def noise(samples, seed=0, scale=0.1):
    """Noise with a constant offset and a tone, so that each step of the filter bank matters."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(samples) / SAMPLE_RATE
    return scale * (torch.randn(samples, generator=generator) + torch.sin(2 * torch.pi * 440 * time) + 0.5)


def mel(hertz):
    return 1127 * np.log(1 + hertz / 700)


def kaldi_fbank(waveform):
    """Kaldi's description, in numpy float64: (samples,) at full scale 1 to (T, 80)."""
    x = np.asarray(waveform, dtype=np.float64) * 2**15
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 399)
    edges = np.linspace(mel(0), mel(8000), 82)
    positions = mel(np.arange(257) * SAMPLE_RATE / 512)
    output = []
    for start in range(0, len(x) - 400 + 1, 160):
        frame = x[start : start + 400] - x[start : start + 400].mean()
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.rfft(frame * window, 512)) ** 2
        energies = []
        for left, centre, right in zip(edges, edges[1:], edges[2:], strict=False):
            rise, fall = (positions - left) / (centre - left), (right - positions) / (right - centre)
            energies.append(np.clip(np.minimum(rise, fall), 0, None) @ power)
        output.append(np.log(np.maximum(energies, np.finfo(np.float32).eps)))
    return np.array(output)


@pytest.mark.parametrize("scale", [1.0, 0.1, 1e-3])
def test_log_mel_equals_kaldis_description(scale):
    waveform = noise(4000, scale=scale)
    got = log_mel(waveform)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got, kaldi_fbank(waveform), atol=2e-3)


def test_silence_is_the_logarithm_of_epsilon():
    expected = torch.full((3, 80), float(np.log(np.finfo(np.float32).eps)))
    torch.testing.assert_close(log_mel(torch.zeros(400 + 2 * 160)), expected)


@PROPERTY
@given(st.integers(400, 5000))
def test_a_frame_every_10_ms_as_far_as_whole_frames_fit(samples):
    assert log_mel(noise(samples)).shape == (1 + (samples - 400) // 160, 80)


@pytest.mark.parametrize("samples", [1, 160, 399])
def test_waveforms_shorter_than_a_frame_are_padded_with_zeros_to_one(samples):
    waveform = noise(samples)
    padded = torch.cat([waveform, torch.zeros(400 - samples)])
    torch.testing.assert_close(log_mel(waveform), log_mel(padded), rtol=0, atol=0)


@pytest.mark.parametrize("frames", [1, 5, 23, 100])
def test_max_frames_computes_the_first_frames_of_the_whole(frames):
    waveform = noise(4000)
    torch.testing.assert_close(log_mel(waveform, frames), log_mel(waveform)[:frames])


@pytest.mark.parametrize("scale", [0.1, 0.5, 4.0])
def test_a_louder_waveform_shifts_the_features_by_twice_the_logarithm(scale):
    waveform = noise(4000)
    torch.testing.assert_close(log_mel(scale * waveform), log_mel(waveform) + 2 * np.log(scale), rtol=0, atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 400), (2, 400), (0,), ()])
def test_anything_but_one_channel_is_refused_with_its_shape(shape):
    with pytest.raises(ShapeError, match=rf"shape \({', '.join(map(str, shape))}.*expected \(samples,\)"):
        LogMelFilterBank()(torch.zeros(shape))


@PROPERTY
@given(st.integers(1, 12), st.integers(1, 40))
def test_fit_frames_cuts_or_repeats_in_a_cycle(length, frames):
    features = torch.arange(length).repeat(80, 1).T
    assert fit_frames(features, frames)[:, 0].tolist() == [t % length for t in range(frames)]
    assert fit_frames(features, frames).shape == (frames, 80)


def regression(features):
    """A 5-point regression over time for each bin, edges replicated."""
    last = len(features) - 1
    delta = np.zeros_like(features)
    for t in range(len(features)):
        for n in (1, 2):
            delta[t] += n * (features[min(t + n, last)] - features[max(t - n, 0)]) / 10
    return delta


@pytest.mark.parametrize("frames", [1, 2, 5, 30])
def test_deltas_are_the_regression_applied_twice(frames):
    features = torch.randn(frames, 80, generator=torch.Generator().manual_seed(0))
    static = features.double().numpy()
    expected = np.stack([static, regression(static), regression(regression(static))])
    np.testing.assert_allclose(add_deltas(features), expected, atol=1e-5)


def test_deltas_take_a_batch():
    features = torch.randn(2, 7, 80)
    torch.testing.assert_close(add_deltas(features), torch.stack([add_deltas(one) for one in features]))


def test_the_seam_of_the_cyclic_repeat_shows_in_the_delta():
    ramp = torch.arange(10.0).repeat(80, 1).T
    delta = add_deltas(fit_frames(ramp, 20))[1, :, 0]
    torch.testing.assert_close(delta[2:8], torch.ones(6))
    torch.testing.assert_close(delta[8:12], torch.tensor([-1.0, -2.0, -2.0, -1.0]))


@pytest.mark.parametrize(
    ("samples", "max_frames", "frames"), [(100, 600, 600), (4000, 600, 600), (4000, 7, 7), (4000, None, 23)]
)
def test_the_front_end_gives_three_channels_of_80_bins(samples, max_frames, frames):
    features = LogMelFilterBank(max_frames)(noise(samples))
    assert features.shape == (3, frames, 80)
    torch.testing.assert_close(features, add_deltas(fit_frames(log_mel(noise(samples)), frames)))


def test_the_papers_input_has_600_frames():
    assert LogMelFilterBank().max_frames == 600


@pytest.mark.parametrize("max_frames", [0, -1])
def test_fewer_than_one_frame_is_refused(max_frames):
    with pytest.raises(ShapeError, match=f"max_frames={max_frames}: expected at least 1"):
        LogMelFilterBank(max_frames)


def test_without_torchaudio_the_front_end_says_which_extra_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    monkeypatch.setitem(sys.modules, "torchaudio.compliance.kaldi", None)
    with pytest.raises(DSNetError, match=r"pip install 'dsnet_plugin\[audio\]'"):
        LogMelFilterBank()(torch.zeros(16_000))
