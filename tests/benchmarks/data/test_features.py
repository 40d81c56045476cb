import numpy as np
import pytest
import soundfile
import torch

from backbones import log_mel, num_samples
from benchmarks.corpora import Utterance
from benchmarks.data.audio import read_audio
from benchmarks.data.features import extract, from_onset, log_mel_of
from benchmarks.errors import AudioError


def tone(rate, seconds=0.5, hertz=440):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


@pytest.mark.parametrize("rate", [8_000, 22_050, 24_414, 44_100, 96_000])
def test_any_rate_is_resampled_to_16_khz_and_keeps_its_pitch(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", tone(rate), rate)
    waveform = read_audio(tmp_path / "a.wav")
    assert len(waveform) == pytest.approx(8_000, abs=2)
    peak = torch.fft.rfft(waveform).abs().argmax() * 16_000 / len(waveform)
    assert float(peak) == pytest.approx(440, abs=3)


def test_channels_are_averaged(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([tone(16_000), -0.5 * tone(16_000)], 1), 16_000, subtype="FLOAT")
    assert torch.allclose(read_audio(tmp_path / "a.wav"), torch.from_numpy(0.25 * tone(16_000)).float(), atol=1e-6)


def broken(tmp_path, kind):
    path = tmp_path / "a.wav"
    if kind == "text":
        path.write_text("this is not audio, whatever it is called")
    elif kind == "empty":
        path.touch()
    elif kind == "no samples":
        soundfile.write(path, np.zeros(0), 16_000)
    elif kind == "not numbers":
        soundfile.write(path, np.full(1000, np.nan), 16_000, subtype="FLOAT")
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("text", "not readable as audio"),
        ("empty", "the file is empty"),
        ("no samples", "0 samples"),
        ("not numbers", "not numbers"),
        ("folder", "no regular file"),
        ("absent", "no such file"),
    ],
)
def test_each_broken_file_has_its_error_with_its_name(tmp_path, kind, message):
    path = broken(tmp_path, kind)
    with pytest.raises(AudioError, match=message) as error:
        read_audio(path)
    assert str(path) in str(error.value)


def test_features_from_the_cache_are_those_computed(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(16_000), 16_000)
    first, second = log_mel_of(tmp_path / "a.wav", 20), log_mel_of(tmp_path / "a.wav", 20)
    assert torch.equal(first, second)
    assert torch.equal(first, log_mel(read_audio(tmp_path / "a.wav"), 20))


def test_the_cache_is_read_and_not_only_written(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", tone(16_000, hertz=300), 16_000)
    log_mel_of(tmp_path / "a.wav", 20)
    monkeypatch.setattr("benchmarks.data.features.read_audio", lambda path: pytest.fail("read again"))
    assert log_mel_of(tmp_path / "a.wav", 20).shape == (20, 80)


def test_a_changed_file_and_another_length_are_computed_anew(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(16_000), 16_000)
    before = log_mel_of(tmp_path / "a.wav", 20)
    assert log_mel_of(tmp_path / "a.wav", 10).shape == (10, 80)
    soundfile.write(tmp_path / "a.wav", tone(16_000, hertz=880), 16_000)
    assert not torch.equal(log_mel_of(tmp_path / "a.wav", 20), before)


def test_a_damaged_cache_entry_is_replaced(tmp_path, monkeypatch):
    monkeypatch.setenv("DSNET_CACHE", str(tmp_path / "cache"))
    soundfile.write(tmp_path / "a.wav", tone(16_000), 16_000)
    before = log_mel_of(tmp_path / "a.wav", 20)
    [entry] = (tmp_path / "cache").rglob("*.safetensors")
    entry.write_bytes(entry.read_bytes()[:40])
    assert torch.equal(log_mel_of(tmp_path / "a.wav", 20), before)
    assert len(entry.read_bytes()) > 40


def test_an_utterance_begins_with_its_first_sound_where_an_onset_is_asked_for(tmp_path):
    sound = tone(16_000)
    quiet = torch.randn(24_000, generator=torch.Generator().manual_seed(0)).numpy() * 10 ** (-50 / 20)
    soundfile.write(tmp_path / "a.wav", np.concatenate([quiet, sound]), 16_000)
    path = tmp_path / "a.wav"
    whole = read_audio(path)
    assert torch.equal(from_onset(whole, 30.0), whole[24_000:])
    assert torch.equal(from_onset(whole, 90.0), whole)  # that noise is a sound, too
    assert torch.equal(from_onset(torch.zeros(800), 30.0), torch.zeros(800))
    assert torch.equal(log_mel_of(path, 50, onset=30.0), log_mel(whole[24_000:], 50))
    assert torch.equal(log_mel_of(path, 50), log_mel(whole, 50))  # the two have places of their own in the cache
    heard = num_samples(50)
    for kind, expected in (("lmfb", log_mel(whole[24_000:], 50)), ("waveform", whole[24_000 : 24_000 + heard])):
        features, _ = extract([Utterance("a", path, "ann", "sad")], 50, kind, 30.0)
        assert torch.equal(features[0], expected)


def test_extraction_goes_on_past_a_broken_file_and_names_it(tmp_path):
    soundfile.write(tmp_path / "good.wav", tone(16_000), 16_000)
    bad = broken(tmp_path, "text")
    utterances = [Utterance(p.stem, p, "ann", "sad") for p in (bad, tmp_path / "good.wav")]
    features, problems = extract(utterances, 20)
    assert features[0] is None
    assert features[1].shape == (20, 80)
    assert list(problems) == ["a"]
    assert problems["a"].startswith("not readable as audio")
