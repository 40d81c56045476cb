import numpy as np
import pytest
import soundfile

from benchmarks.corpora import Utterance
from benchmarks.data.recordings import describe_recordings, recordings_report
from benchmarks.data.shortcuts import find_shortcuts, shortcuts_report
from benchmarks.errors import CorpusError

EMOTIONS = ("angry", "happy", "neutral", "sad")


def noise(seconds, level=0.1, rate=16_000):
    return level * np.random.default_rng(0).standard_normal(round(seconds * rate))


def utterance(path, samples, rate=16_000, speaker="a", label="sad", **more):
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return Utterance(path.stem, path, speaker, label, **more)


def test_a_recording_is_described_as_it_was_made(tmp_path):
    samples = np.concatenate([np.zeros(8_000), noise(1), np.zeros(4_000)])
    [found] = describe_recordings([utterance(tmp_path / "a.wav", samples)])
    assert found.seconds == pytest.approx(1.75)
    assert (found.rate, found.channels) == (16_000, 1)
    assert found.leading == pytest.approx(0.5, abs=0.011)
    assert found.trailing == pytest.approx(0.25, abs=0.011)
    assert found.silent == pytest.approx(0.75 / 1.75, abs=0.02)
    assert found.level == pytest.approx(-20, abs=0.3)


def test_rate_and_channels_are_those_of_the_file(tmp_path):
    samples = np.stack([noise(1, rate=44_100)] * 2, 1)
    [found] = describe_recordings([utterance(tmp_path / "a.wav", samples, 44_100)])
    assert (found.rate, found.channels) == (44_100, 2)
    assert found.seconds == pytest.approx(1, abs=1e-3)


def test_a_segment_is_described_and_not_its_file(tmp_path):
    samples = np.concatenate([np.zeros(16_000), noise(1)])
    whole = utterance(tmp_path / "a.wav", samples)
    [found] = describe_recordings([Utterance("b", whole.path, "a", "sad", start=0.9, end=1.4)])
    assert found.seconds == pytest.approx(0.5)
    assert found.leading == pytest.approx(0.1, abs=0.011)


def test_the_report_shows_one_length_for_all_and_files_of_zeros(tmp_path):
    utterances = [utterance(tmp_path / f"{i}.wav", noise(0.2)) for i in range(20)]
    utterances.append(utterance(tmp_path / "zeros.wav", np.zeros(8_000)))
    utterances.append(utterance(tmp_path / "offset.wav", np.full(8_000, 0.3)))
    (tmp_path / "text.wav").write_text("no audio")
    utterances.append(Utterance("text", tmp_path / "text.wav", "a", "sad"))
    recordings = describe_recordings(utterances)
    assert recordings[-1] is None
    report = recordings_report(recordings, utterances)
    assert "duration: 0.20 to 0.50 s, median 0.20" in report
    assert "20 of 22 last 0.20 s: cut or padded to one length" in report
    assert "nothing but silence: 2: zeros, offset" in report
    assert "rate: 16,000 Hz; channels: 1" in report


def corpus(folder, artefact):
    """Four speakers with ten utterances a class, alike but for the artefact."""
    draw = np.random.default_rng(1)
    found = []
    for speaker in "abcd":
        for number, label in enumerate(EMOTIONS):
            for take in range(10):
                seconds = 0.2 + draw.uniform(0, 0.2)
                leading = 0.1 * number + 0.02 if artefact == "leading silence" else draw.uniform(0.02, 0.3)
                samples = np.concatenate([np.zeros(round(16_000 * leading)), noise(seconds, draw.uniform(0.05, 0.1))])
                if artefact == "duration":
                    samples = np.concatenate([samples, noise(1 + 0.5 * number - len(samples) / 16_000)])
                text = f"{label} {take}" if artefact == "text" else str(take)
                found.append(
                    utterance(folder / f"{speaker}{label}{take}.wav", samples, 16_000, speaker, label, text=text)
                )
    return found


@pytest.mark.parametrize("artefact", ["none", "duration", "leading silence", "text"])
def test_what_gives_the_class_away_is_found_and_nothing_else(tmp_path, artefact):
    utterances = corpus(tmp_path, artefact)
    found = {s.name: s for s in find_shortcuts(utterances, describe_recordings(utterances))}
    assert set(found) == {"duration", "level", "leading silence", "trailing silence", "text"}
    for name, shortcut in found.items():
        assert shortcut.low <= shortcut.uar <= shortcut.high
        assert shortcut.chance == 25
        if name == artefact:
            assert shortcut.low > 90
        elif artefact == "none" or name in ("level", "text"):
            assert shortcut.uar < 45
    assert "class told by text alone: UAR" in shortcuts_report(list(found.values()))


def test_text_is_left_out_where_it_is_not_known(tmp_path):
    utterances = [utterance(tmp_path / f"{s}{e}.wav", noise(0.2), speaker=s, label=e) for s in "ab" for e in EMOTIONS]
    assert "text" not in [s.name for s in find_shortcuts(utterances, describe_recordings(utterances))]


def test_one_speaker_cannot_be_asked(tmp_path):
    utterances = [utterance(tmp_path / f"{e}.wav", noise(0.2), label=e) for e in EMOTIONS]
    with pytest.raises(CorpusError, match=r"1 speakers and 4 classes; .* takes two of each"):
        find_shortcuts(utterances, describe_recordings(utterances))
