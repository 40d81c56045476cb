"""The synthetic corpus: reproducible, all or nothing on disk, and with the factors that it claims in the signal."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from scipy import signal

from benchmarks.corpora import synthesis, synthetic
from benchmarks.corpora.base import EMOTIONS
from benchmarks.corpora.loading import collect
from benchmarks.corpora.synthesis import FACTORS, SPREAD, Speaker, speaker_factors, synthesize
from benchmarks.corpora.synthetic import INFO, SyntheticSettings, default_root, generate
from benchmarks.errors import CorpusError

SMALL = SyntheticSettings(speakers=4, utterances=16, correlation=0.0, seconds=0.8, seed=3)
TINY = SyntheticSettings(speakers=2, utterances=8, seconds=0.5)
SPEAKER = Speaker(sex="M", pitch=120.0, vocal_tract=17.0, tilt=0.0, gain=0.0, noise=-75.0)
NEUTRAL = FACTORS["neutral"]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("synthetic") / "small"
    generate(root, SMALL)
    return root


def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.*"))}


def wave(speaker=SPEAKER, emotion=NEUTRAL, seconds=3.0, seed=0):
    return synthesize(speaker, emotion, seconds, np.random.default_rng(seed)).astype(float)


# --- measurements that share nothing with the synthesis


def f0_track(samples):
    """F0 in Hz of the loud frames with a clear autocorrelation peak between 60 and 450 Hz."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 640)[::160]
    frames = frames[frames.std(axis=1) > 0.5 * samples.std()] * np.hanning(640)
    spectrum = np.abs(np.fft.rfft(frames, 2048)) ** 2
    window = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(640), 2048)) ** 2)
    correlation = np.fft.irfft(spectrum) / np.maximum(window, 1e-9)  # without the window's own fading
    correlation /= correlation[:, :1]
    lags = np.arange(16000 // 450, 16000 // 60)
    candidates = correlation[:, lags]
    # The first lag near the best one: the best alone is often two or three periods.
    first = (candidates > 0.93 * candidates.max(axis=1)[:, None]).argmax(axis=1)
    local = np.array([at + candidates[row, at : at + 8].argmax() for row, at in enumerate(first)])
    return 16000 / lags[local[candidates.max(axis=1) > 0.6]]


def spread_in_semitones(samples):
    semitones = 12 * np.log2(f0_track(samples))
    return semitones[np.abs(semitones - np.median(semitones)) < 9].std()


def spectrum_db(samples):
    """Long-term average spectrum: frequencies in Hz and levels in dB."""
    frequency, power = signal.welch(samples, 16000, nperseg=1024)
    return frequency, 10 * np.log10(power)


def formant_shift(reference, samples):
    """The factor along the frequency axis that fits the spectral envelope of one signal best to the other's."""
    axis = np.geomspace(300, 5500, 600)

    def envelope(samples, factor):
        frequency, level = spectrum_db(samples)
        level = np.convolve(level, np.hanning(25) / np.hanning(25).sum(), mode="same")
        curve = np.interp(axis * factor, frequency, level)
        return curve - np.polyval(np.polyfit(np.log(axis), curve, 1), np.log(axis))

    factors = np.linspace(0.8, 1.35, 111)
    fits = [np.corrcoef(envelope(reference, 1.0), envelope(samples, factor))[0, 1] for factor in factors]
    return factors[int(np.argmax(fits))]


def syllables_a_second(samples):
    """Peaks of the envelope below 1500 Hz, where consonants have little."""
    low = signal.sosfiltfilt(signal.butter(4, 1500, fs=16000, output="sos"), samples)
    level = signal.sosfiltfilt(signal.butter(2, 12, fs=16000, output="sos"), np.abs(low))
    level = 20 * np.log10(np.maximum(level, 0.01 * level.max()))
    peaks, _ = signal.find_peaks(level, prominence=3)
    return len(peaks) / (len(samples) / 16000 - 0.16)


def level_db(samples):
    return 10 * np.log10(np.mean(np.square(samples)))


def mutual_information(settings):
    """Between speaker and emotion, in bits."""
    counts = np.array([list(settings.counts(index).values()) for index in range(settings.speakers)])
    joint = counts / counts.sum()
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0)
    return float((joint * np.log2(joint / independent)).sum())


# --- the settings and the dial


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("speakers", 1),
        ("speakers", 2.5),
        ("seed", True),
        ("utterances", 7),
        ("correlation", 1.0),
        ("correlation", -0.1),
        ("correlation", float("nan")),
        ("correlation", "0.5"),
        ("seconds", 0.1),
        ("seconds", float("inf")),
        ("seed", -1),
        ("seed", 2**32),
    ],
)
def test_a_setting_out_of_range_is_refused_with_its_name_its_value_and_what_is_expected(field, value):
    with pytest.raises(CorpusError, match=rf"{field}={value!r}; expected a .*number") as caught:
        SyntheticSettings(**{field: value})
    assert "\n" not in str(caught.value)


def test_without_correlation_the_emotion_says_nothing_of_the_speaker():
    for utterances in (8, 48, 50):
        assert mutual_information(SyntheticSettings(utterances=utterances, correlation=0)) == pytest.approx(
            0, abs=1e-12
        )


def test_more_correlation_is_more_mutual_information_between_speaker_and_emotion():
    steps = [mutual_information(SyntheticSettings(correlation=value)) for value in (0, 0.2, 0.4, 0.6, 0.8, 0.99)]
    assert all(np.diff(steps) > 0.02)
    assert steps[-1] > 0.7


@given(utterances=st.integers(8, 300), correlation=st.floats(0, 1, exclude_max=True), speaker=st.integers(0, 40))
def test_every_speaker_has_all_utterances_and_two_of_each_class(utterances, correlation, speaker):
    counts = SyntheticSettings(utterances=utterances, correlation=correlation).counts(speaker)
    assert tuple(counts) == EMOTIONS
    assert sum(counts.values()) == utterances
    assert min(counts.values()) >= 2


def test_favourites_rotate_and_each_is_of_women_and_of_men():
    settings = SyntheticSettings(speakers=8, correlation=0.9)
    favourites = {(max(c := settings.counts(i), key=c.get), speaker_factors(0, i).sex) for i in range(8)}
    assert len(favourites) == 8


# --- files: the same again, all or nothing


def test_the_same_settings_give_the_same_bytes(small, tmp_path):
    generate(tmp_path / "again", SMALL)
    assert contents(tmp_path / "again") == contents(small)


def test_another_seed_gives_other_speakers_and_other_sounds(small, tmp_path):
    generate(tmp_path / "other", replace(SMALL, seed=4))
    one, other = contents(small), contents(tmp_path / "other")
    assert one.keys() == other.keys()
    assert not any(one[name] == other[name] for name in one)


def test_the_seed_draws_the_speakers_and_beside_them_the_utterances(monkeypatch):
    assert speaker_factors(3, 0) != speaker_factors(4, 0)
    monkeypatch.setattr(synthesis, "speaker_factors", lambda *_: SPEAKER)
    one, other = (synthesis.make_utterance(seed, TINY.seconds, 0, "sad", 0) for seed in (3, 4))
    assert len(one) != len(other)


def test_a_file_does_not_depend_on_the_other_files(small, tmp_path):
    generate(tmp_path / "other", replace(SMALL, speakers=2, utterances=12, correlation=0.7))
    one, other = contents(small), contents(tmp_path / "other")
    shared = (one.keys() & other.keys()) - {"synthetic.json"}
    assert len(shared) >= 12
    assert all(one[name] == other[name] for name in shared)


def test_no_two_utterances_are_alike(small):
    sounds = [data for name, data in contents(small).items() if name.endswith(".wav")]
    assert len(set(sounds)) == len(sounds) == 64


def test_an_existing_corpus_of_the_same_settings_is_left_as_it_is(tmp_path, monkeypatch):
    generate(tmp_path / "corpus", TINY)
    before = contents(tmp_path / "corpus")
    monkeypatch.setattr(synthesis, "synthesize", lambda *_: pytest.fail("generated again"))
    generate(tmp_path / "corpus", TINY)
    assert contents(tmp_path / "corpus") == before


def test_a_corpus_of_other_settings_is_refused_with_what_differs(small):
    before = contents(small)
    with pytest.raises(CorpusError, match=r"correlation=0.0 \(asked: 0.9\), seed=3 \(asked: 5\); choose another") as e:
        generate(small, replace(SMALL, correlation=0.9, seed=5))
    assert "utterances" not in str(e.value)
    assert contents(small) == before


def test_a_corpus_of_another_version_is_refused(small, monkeypatch):
    monkeypatch.setattr(synthetic, "_VERSION", 99)
    with pytest.raises(CorpusError, match=r"version=\d+ \(asked: 99\)"):
        generate(small, SMALL)


def test_a_folder_with_other_files_is_refused_and_nothing_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CorpusError, match="an empty folder"):
        generate(tmp_path, TINY)
    assert contents(tmp_path) == {"thesis.txt": b"years of work"}
    with pytest.raises(CorpusError, match="an empty folder"):
        generate(tmp_path / "thesis.txt", TINY)


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    generate(tmp_path / "empty", TINY)
    assert len(contents(tmp_path / "empty")) == 17


def test_a_damaged_description_is_one_clear_error(tmp_path):
    (tmp_path / "synthetic.json").write_text('{"settings": ')
    with pytest.raises(CorpusError, match=r"synthetic.json is damaged; delete the folder"):
        generate(tmp_path, TINY)
    with pytest.raises(CorpusError, match=r"synthetic.json is damaged; delete the folder"):
        collect(INFO, synthetic.utterances, tmp_path)


def test_an_interrupted_generation_leaves_nothing(tmp_path, monkeypatch):
    write, written = soundfile.write, []

    def interrupted(path, *args, **kwargs):
        if len(written) == 9:
            raise KeyboardInterrupt
        write(path, *args, **kwargs)
        written.append(path)

    monkeypatch.setattr(soundfile, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "corpus", TINY)
    assert len(written) == 9
    assert list(tmp_path.iterdir()) == []


def test_a_killed_generation_leaves_no_corpus_and_can_be_done_again(tmp_path):
    kill = (
        "import os, sys, pathlib, soundfile; from benchmarks.corpora import synthetic\n"
        "write, done = soundfile.write, []\n"
        "def killed(*args, **kwargs):\n"
        "    write(*args, **kwargs); done.append(1)\n"
        "    len(done) < 9 or os._exit(9)\n"
        "soundfile.write = killed\n"
        "synthetic.generate(pathlib.Path(sys.argv[1]), synthetic.SyntheticSettings(2, 8, seconds=0.5))\n"
    )
    repository = Path(synthetic.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", kill, tmp_path / "corpus"], cwd=repository, check=False)
    assert done.returncode == 9
    assert not (tmp_path / "corpus").exists()
    with pytest.raises(CorpusError, match="no folder"):
        collect(INFO, synthetic.utterances, tmp_path / "corpus")
    generate(tmp_path / "corpus", TINY)
    assert len(collect(INFO, synthetic.utterances, tmp_path / "corpus").utterances) == 16


def test_two_processes_may_generate_the_same_corpus(tmp_path, monkeypatch):
    generate(tmp_path / "first", TINY)
    write = soundfile.write

    def overtaken(*args, **kwargs):
        write(*args, **kwargs)
        if not (tmp_path / "corpus").exists():
            shutil.copytree(tmp_path / "first", tmp_path / "corpus")

    monkeypatch.setattr(soundfile, "write", overtaken)
    generate(tmp_path / "corpus", TINY)
    assert contents(tmp_path / "corpus") == contents(tmp_path / "first")


def test_the_default_root_is_in_the_cache_and_differs_with_every_setting(tmp_path, monkeypatch):
    monkeypatch.setenv("DSNET_CACHE", str(tmp_path))
    assert default_root().parent == tmp_path
    others = [{"speakers": 5}, {"utterances": 40}, {"correlation": 0.1}, {"seconds": 2.0}, {"seed": 1}, {}]
    assert len({default_root(SyntheticSettings(**other)) for other in others}) == len(others)
    assert default_root(SyntheticSettings(correlation=0)) == default_root(SyntheticSettings(correlation=0.0))
    monkeypatch.delenv("DSNET_CACHE")
    assert default_root().parent == Path.home() / ".cache" / "dsnet"


# --- the loader


def test_the_loader_gets_every_utterance_with_its_speaker_label_and_sex(small):
    corpus = collect(INFO, synthetic.utterances, small)
    assert len(corpus.utterances) == 64
    assert corpus.counts() == dict.fromkeys(EMOTIONS, 16)
    assert corpus.speakers == ["spk00", "spk01", "spk02", "spk03"]
    assert corpus.report.absent == 0
    assert corpus.report.unknown == []
    assert {u.speaker: u.sex for u in corpus.utterances} == {"spk00": "F", "spk01": "M", "spk02": "F", "spk03": "M"}
    assert all(u.path.parent.name == u.speaker and u.label in u.key for u in corpus.utterances)


def test_a_lost_file_is_missing(small, tmp_path):
    shutil.copytree(small, tmp_path / "part")
    (tmp_path / "part" / "spk01" / "spk01_sad_02.wav").unlink()
    corpus = collect(INFO, synthetic.utterances, tmp_path / "part")
    assert len(corpus.utterances) == 63
    assert corpus.report.missing == ["spk01_sad_02"]


def test_a_lost_description_is_missing_and_the_names_still_say_who_and_what(small, tmp_path):
    shutil.copytree(small, tmp_path / "part")
    (tmp_path / "part" / "synthetic.json").unlink()
    corpus = collect(INFO, synthetic.utterances, tmp_path / "part")
    assert corpus.report.missing == ["synthetic.json"]
    assert len(corpus.utterances) == 64
    assert {u.sex for u in corpus.utterances} == {None}


def test_a_folder_of_something_else_is_not_this_corpus(tmp_path):
    with pytest.raises(CorpusError, match="nothing of Synthetic"):
        collect(INFO, synthetic.utterances, tmp_path)


def test_the_known_counts_are_those_of_the_default_settings():
    settings = SyntheticSettings()
    counts = [settings.counts(index) for index in range(settings.speakers)]
    assert INFO.counts == {emotion: sum(count[emotion] for count in counts) for emotion in EMOTIONS}
    assert INFO.speakers == settings.speakers


def test_the_description_holds_the_true_factors(small):
    truth = json.loads((small / "synthetic.json").read_text())
    assert truth["settings"].items() >= {"version": synthetic._VERSION, "seed": 3, "correlation": 0.0}.items()
    assert Speaker(**{k: v for k, v in truth["speakers"]["spk02"].items() if k != "counts"}) == (speaker_factors(3, 2))
    assert {emotion: type(NEUTRAL)(**factors) for emotion, factors in truth["emotions"].items()} == FACTORS


# --- the signals


def test_every_file_is_16_bit_16_khz_finite_unclipped_and_without_offset(small):
    lengths = []
    for utterance in collect(INFO, synthetic.utterances, small).utterances:
        info = soundfile.info(utterance.path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        samples, _ = soundfile.read(utterance.path)
        assert np.abs(samples).max() < 0.995
        assert level_db(samples) > -50
        assert abs(samples.mean()) < 1e-4
        lengths.append(info.duration)
    assert min(lengths) >= 0.7 * SMALL.seconds - 1e-3
    assert max(lengths) <= 1.3 * SMALL.seconds + 1e-3
    assert np.std(lengths) > 0.1 * SMALL.seconds
    assert np.mean(lengths) == pytest.approx(SMALL.seconds, rel=0.08)


def test_a_far_too_loud_speaker_does_not_clip():
    samples = synthesize(replace(SPEAKER, gain=40), NEUTRAL, 1.0, np.random.default_rng(0))
    assert samples.dtype == np.float32
    assert samples.shape == (16000,)
    assert np.abs(samples).max() == pytest.approx(0.99, abs=1e-3)


@pytest.mark.parametrize("pitch", [95, 130, 180, 240])
def test_the_measured_f0_is_the_speakers_pitch(pitch):
    track = f0_track(wave(replace(SPEAKER, pitch=pitch), replace(NEUTRAL, pitch_range=0.5)))
    assert len(track) > 60
    assert np.median(track) == pytest.approx(pitch, rel=0.03)


def test_the_measured_f0_moves_with_the_pitch_shift():
    low, high = (np.median(f0_track(wave(emotion=replace(NEUTRAL, pitch_shift=s, pitch_range=0.5)))) for s in (0, 5))
    assert 12 * np.log2(high / low) == pytest.approx(5, abs=0.5)


def test_the_measured_pitch_range_is_that_of_the_emotion():
    measured = {
        emotion: np.mean([spread_in_semitones(wave(emotion=factors, seed=seed)) for seed in range(6)])
        for emotion, factors in FACTORS.items()
    }
    for emotion, factors in FACTORS.items():
        assert measured[emotion] == pytest.approx(factors.pitch_range, rel=0.25)
    assert measured["happy"] > measured["angry"] > measured["neutral"] > measured["sad"]


@pytest.mark.parametrize("length", [14.5, 15.5, 18.5])
def test_the_measured_formants_scale_with_the_inverse_of_the_vocal_tract(length):
    slow = replace(NEUTRAL, rate=2.0)
    reference, samples = (wave(replace(SPEAKER, pitch=90, vocal_tract=cm), slow, seconds=6) for cm in (17.0, length))
    assert formant_shift(reference, samples) == pytest.approx(17.0 / length, rel=0.03)


@pytest.mark.parametrize("whose", ["speaker", "emotion"])
def test_the_measured_spectrum_tilts_with_the_speaker_and_with_the_emotion(whose):
    tilted = {"speaker": replace(SPEAKER, tilt=3)} if whose == "speaker" else {"emotion": replace(NEUTRAL, tilt=3)}
    frequency, flat = spectrum_db(wave())
    band = (frequency > 200) & (frequency < 2000)
    slope = np.polyfit(np.log2(frequency[band]), (spectrum_db(wave(**tilted))[1] - flat)[band], 1)[0]
    assert slope == pytest.approx(3, abs=0.4)


def test_the_measured_level_follows_the_gain_and_the_energy():
    reference = level_db(wave())
    assert reference == pytest.approx(-28, abs=0.3)
    assert level_db(wave(replace(SPEAKER, gain=6))) - reference == pytest.approx(6, abs=0.1)
    assert level_db(wave(emotion=replace(NEUTRAL, energy=-6))) - reference == pytest.approx(-6, abs=0.1)


@pytest.mark.parametrize("noise", [-70, -55])
def test_the_silence_before_the_first_syllable_holds_the_recording_noise(noise):
    assert level_db(wave(replace(SPEAKER, noise=noise))[:1000]) == pytest.approx(noise, abs=1)


@pytest.mark.parametrize("rate", [2.5, 3.5, 5.0])
def test_the_measured_syllable_rate_is_that_of_the_emotion(rate):
    measured = [syllables_a_second(wave(emotion=replace(NEUTRAL, rate=rate), seconds=6, seed=s)) for s in range(4)]
    assert np.mean(measured) == pytest.approx(rate, rel=0.15)


def test_in_the_corpus_each_class_has_its_mean_energy_and_pitch_range(small):
    level, width = ({emotion: [] for emotion in EMOTIONS} for _ in range(2))
    for utterance in collect(INFO, synthetic.utterances, small).utterances:
        samples, _ = soundfile.read(utterance.path)
        level[utterance.label].append(level_db(samples))
        width[utterance.label].append(spread_in_semitones(samples))
    mean = {emotion: np.mean(values) for emotion, values in level.items()}
    assert mean["angry"] > mean["happy"] > mean["neutral"] > mean["sad"]
    assert min(np.mean(width["angry"]), np.mean(width["happy"])) > np.mean(width["sad"]) + 0.5


def test_utterances_of_one_speaker_and_class_differ_in_energy_as_the_spread_says(tmp_path):
    generate(tmp_path / "corpus", SyntheticSettings(speakers=2, utterances=64, correlation=0.0, seconds=0.5))
    levels = {}
    for utterance in collect(INFO, synthetic.utterances, tmp_path / "corpus").utterances:
        samples, _ = soundfile.read(utterance.path)
        levels.setdefault((utterance.speaker, utterance.label), []).append(level_db(samples))
    assert len(levels) == 8
    assert np.mean([np.std(values) for values in levels.values()]) == pytest.approx(SPREAD.energy, rel=0.2)


def test_classes_are_learnable_but_a_random_split_flatters_more_the_more_speaker_and_emotion_go_together(tmp_path):
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import recall_score
    from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000, class_weight="balanced"))
    edges = np.geomspace(2, 256, 21).astype(int)  # bands of the 512-point spectrum
    independent, dependent = {}, {}
    for correlation in (0.0, 0.9):
        root = tmp_path / str(correlation)
        generate(root, SyntheticSettings(utterances=24, correlation=correlation, seconds=1.0))
        utterances = collect(INFO, synthetic.utterances, root).utterances
        features = []
        for utterance in utterances:
            power = signal.spectrogram(soundfile.read(utterance.path)[0], nperseg=400, nfft=512, noverlap=240)[2]
            bands = np.log(np.add.reduceat(power, np.unique(edges), axis=0) + 1e-12)
            features.append(np.concatenate([bands.mean(axis=1), bands.std(axis=1)]))
        labels = [utterance.label for utterance in utterances]
        for scores, split, groups in (
            (independent, LeaveOneGroupOut(), [utterance.speaker for utterance in utterances]),
            (dependent, StratifiedKFold(6, shuffle=True, random_state=0), None),
        ):
            predicted = cross_val_predict(model, np.array(features), labels, groups=groups, cv=split)
            scores[correlation] = recall_score(labels, predicted, average="macro")
    assert 0.4 < independent[0.0] < 0.85
    assert dependent[0.9] - independent[0.9] > dependent[0.0] - independent[0.0] + 0.05
