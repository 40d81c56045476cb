"""Reading audio: right for what is good, bounded for what is huge, one line for what is bad."""

import os
import stat
import struct
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from benchmarks.corpora import Utterance
from benchmarks.data.audio import audio_blocks, read_audio
from benchmarks.data.features import extract, log_mel_of
from benchmarks.errors import AudioError


def noise(seconds, rate=16_000):
    return 0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate))


def wav(path, rate, samples=16_000, subtype="PCM_16"):
    """A WAV whose header may say what no writer would."""
    soundfile.write(path, noise(samples / 16_000), 16_000, subtype=subtype)
    content = bytearray(path.read_bytes())
    content[24:28] = struct.pack("<I", rate)
    path.write_bytes(content)
    return path


def flac_of_total(path, total):
    """A second of FLAC that says it has so many samples."""
    soundfile.write(path, noise(1), 16_000)
    content = bytearray(path.read_bytes())
    content[21] = content[21] & 0xF0 | total >> 32
    content[22:26] = struct.pack(">I", total & 0xFFFFFFFF)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("total", [0, 2**36 - 1], ids=["a stream", "2^36"])
def test_flac_is_read_to_its_end_whatever_its_header_says(tmp_path, total):
    waveform = read_audio(flac_of_total(tmp_path / "a.flac", total))
    assert torch.allclose(waveform, torch.from_numpy(noise(1)).float(), atol=1e-4)


@pytest.mark.parametrize("rate", [1, 999, 384_001, 9_999_991])
def test_a_rate_that_no_recording_has_is_refused(tmp_path, rate):
    with pytest.raises(AudioError, match=f"{rate:,} samples a second; expected 1,000 to 384,000"):
        read_audio(wav(tmp_path / "a.wav", rate))


@pytest.mark.parametrize(
    ("value", "message"), [(1e38, "as large as 1e\\+38; full scale is 1"), (-1e30, "as large"), (np.inf, "not numbers")]
)
def test_samples_that_would_give_no_number_are_refused(tmp_path, value, message):
    samples = noise(0.1)
    samples[500] = value
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    with pytest.raises(AudioError, match=message):
        read_audio(tmp_path / "a.wav")


LIMITED = """
import resource, sys
from pathlib import Path
import torch
from benchmarks.data.audio import read_audio
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
waveform = read_audio(Path(sys.argv[1]), *map(float, sys.argv[2:]))
print(len(waveform), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def megabytes(path, *arguments):
    done = subprocess.run([sys.executable, "-c", LIMITED, path, *arguments], capture_output=True, text=True, check=True)
    return tuple(map(int, done.stdout.split()))


def test_memory_depends_neither_on_the_length_of_a_file_nor_on_the_ratio_of_rates(tmp_path):
    for rate in (11_127, 44_101):
        samples, used = megabytes(wav(tmp_path / "a.wav", rate, rate))
        assert samples == pytest.approx(16_000, abs=2)
        assert used < 60
    with soundfile.SoundFile(tmp_path / "hours.flac", "w", 44_100, 2) as file:
        for _ in range(60):
            file.write(np.zeros((44_100 * 60, 2), np.int16))
    samples, used = megabytes(tmp_path / "hours.flac", "0.3")
    assert samples == 4_800
    assert used < 60


def test_blocks_are_the_recording(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([noise(70, 22_050)] * 2, 1), 22_050)
    blocks = list(audio_blocks(tmp_path / "a.wav"))
    assert len(blocks) > 3
    assert torch.equal(torch.cat(blocks), read_audio(tmp_path / "a.wav"))


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_part_of_a_file_is_that_part_of_the_whole(tmp_path, name):
    smooth = np.convolve(noise(5, 48_000), np.ones(8) / 8, "same")
    soundfile.write(tmp_path / name, smooth, 48_000)
    whole, part = read_audio(tmp_path / name), read_audio(tmp_path / name, start=2.3, end=3.1)
    expected = whole[round(2.3 * 16_000) : round(3.1 * 16_000)]
    assert len(part) == len(expected)
    assert torch.allclose(part[100:-100], expected[100:-100], atol=1e-5)  # the ends are heard without what is beyond


def test_a_part_beyond_the_end_is_an_error(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(1), 16_000)
    with pytest.raises(AudioError, match="0 samples from 2 s on"):
        read_audio(tmp_path / "a.wav", start=2, end=3)


def test_a_name_that_is_not_utf_8_is_read(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.wav")
    soundfile.write(tmp_path / "a.wav", noise(1), 16_000)
    (tmp_path / "a.wav").rename(path)
    assert len(read_audio(path)) == 16_000


def test_a_pipe_and_a_device_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path / "pipe.wav", type(tmp_path)("/dev/zero")):
        with pytest.raises(AudioError, match="no regular file"):
            read_audio(path)
    with pytest.raises(AudioError, match="File name too long"):
        read_audio(tmp_path / ("a" * 300 + ".wav"))


def ffmpeg(folder, script):
    """A program in the place of ffmpeg."""
    folder.mkdir()
    (folder / "ffmpeg").write_text(f"#!{sys.executable}\nimport sys\n{script}\n")
    (folder / "ffmpeg").chmod(stat.S_IRWXU)
    return str(folder)


def test_m4a_needs_ffmpeg_and_says_so(tmp_path, monkeypatch):
    (tmp_path / "a.m4a").write_bytes(b"....ftypM4A ")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AudioError, match=r"a\.m4a: \.m4a needs ffmpeg, which is not installed; or give WAV"):
        read_audio(tmp_path / "a.m4a")


def test_what_ffmpeg_decodes_is_read_and_it_is_stopped_when_enough_is_heard(tmp_path, monkeypatch):
    (tmp_path / "a.webm").write_bytes(b"\x1aE\xdf\xa3")
    endless = "import struct\nwhile True: sys.stdout.buffer.write(struct.pack('<1000f', *[0.25] * 1000))"
    monkeypatch.setenv("PATH", ffmpeg(tmp_path / "bin", endless))
    waveform = read_audio(tmp_path / "a.webm", 2.5)
    assert len(waveform) == 40_000
    assert waveform.unique().tolist() == [0.25]


def test_what_ffmpeg_refuses_is_one_line_in_its_words(tmp_path, monkeypatch):
    (tmp_path / "a.m4a").write_bytes(b"nonsense")
    refusing = "print('file:a.m4a: Invalid data found when processing input', file=sys.stderr)\nsys.exit(1)"
    monkeypatch.setenv("PATH", ffmpeg(tmp_path / "bin", refusing))
    with pytest.raises(AudioError, match=r"not readable as audio \(ffmpeg: .*Invalid data found"):
        read_audio(tmp_path / "a.m4a")


def test_an_ffmpeg_that_gives_nothing_is_ended_by_the_clock(tmp_path, monkeypatch):
    (tmp_path / "a.m4a").write_bytes(b"nonsense")
    monkeypatch.setenv("PATH", ffmpeg(tmp_path / "bin", "import time\ntime.sleep(10_000)"))
    monkeypatch.setattr("benchmarks.data.audio._PATIENCE", 0.2)
    with pytest.raises(AudioError, match=r"a\.m4a: ffmpeg gave nothing for 0\.2 s; convert the file to WAV"):
        read_audio(tmp_path / "a.m4a")


def test_a_failure_of_any_kind_is_that_file_s_line(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise MemoryError("no memory")

    soundfile.write(tmp_path / "a.wav", noise(1), 16_000)
    soundfile.write(tmp_path / "b.wav", noise(1), 8_000)
    monkeypatch.setattr("soxr.ResampleStream.resample_chunk", fail, raising=False)
    utterances = [Utterance(name, tmp_path / f"{name}.wav", "ann", "sad") for name in "ab"]
    features, problems = extract(utterances, 20)
    assert features[0].shape == (20, 80)
    assert problems == {"b": "cannot be read to its end (no memory)"}


def test_parts_of_one_file_have_their_own_entries_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DSNET_CACHE", str(tmp_path / "cache"))
    soundfile.write(tmp_path / "a.wav", noise(4), 16_000)
    whole, part = log_mel_of(tmp_path / "a.wav", 50), log_mel_of(tmp_path / "a.wav", 50, 2.0, 3.0)
    assert not torch.equal(whole, part)
    assert torch.equal(part, log_mel_of(tmp_path / "a.wav", 50, 2.0, 3.0))
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 2


def test_a_cache_entry_whose_bytes_changed_is_computed_again(tmp_path, monkeypatch):
    monkeypatch.setenv("DSNET_CACHE", str(tmp_path / "cache"))
    soundfile.write(tmp_path / "a.wav", noise(1), 16_000)
    before = log_mel_of(tmp_path / "a.wav", 20)
    [entry] = (tmp_path / "cache").rglob("*.safetensors")
    content = bytearray(entry.read_bytes())
    content[-3] ^= 1
    entry.write_bytes(content)
    assert torch.equal(log_mel_of(tmp_path / "a.wav", 20), before)
    assert entry.read_bytes() != bytes(content)
