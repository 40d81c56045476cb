"""Encoding once: what is on disk is used, what is damaged or of another encoder is not."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from backbones import create_encoder
from benchmarks.data import EncoderSpec, front_end
from benchmarks.data.audio import read_audio
from benchmarks.data.encoding import encode
from benchmarks.data.front_end import frozen_front_end, load_frozen
from benchmarks.output.files import cache_root
from dsnet_plugin import ConfigError
from tests.backbones.tiny_speech_models import save_tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    return save_tiny(tmp_path_factory.mktemp("models") / "whisper", "whisper")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DSNET_CACHE", str(tmp_path / "cache"))
    load_frozen.cache_clear()


@pytest.fixture
def whisper(folder):
    return frozen_front_end(EncoderSpec(f"hf/{folder}", {"freeze": "all", "layer_weights": True}), 100, "fp32")


@pytest.fixture
def batches(monkeypatch):
    """How many passes of the encoder there were."""
    calls = []
    forward = front_end.FrozenEncoder.forward

    def counted(self, inputs):
        calls.append(len(inputs["waveform"]))
        return forward(self, inputs)

    monkeypatch.setattr(front_end.FrozenEncoder, "forward", counted)
    return calls


def entries():
    return sorted(cache_root().rglob("*.safetensors"))


def test_each_utterance_has_the_states_that_it_has_alone(small_corpus, folder, whisper):
    features, problems = encode(small_corpus.utterances, whisper, CPU)
    encoder = create_encoder(f"hf/{folder}", layer_weights=True).eval()
    assert not problems
    for i in (0, 7, 40):
        wave = read_audio(small_corpus.utterances[i].path)[: 100 * 160 + 240]
        with torch.no_grad():
            assert torch.allclose(features[i], encoder.pooled_states(wave[None])[0], atol=1e-5)


def test_what_is_on_disk_is_not_encoded_again_and_the_encoder_is_not_even_loaded(
    small_corpus, whisper, batches, monkeypatch
):
    lines = []
    features, _ = encode(small_corpus.utterances, whisper, CPU, lines.append)
    assert sum(batches) == len(small_corpus.utterances)
    assert f"{len(small_corpus.utterances)} utterances encoded in" in lines[0]
    monkeypatch.setattr("benchmarks.data.encoding.frozen_encoder", lambda _: pytest.fail("loaded"))
    again, _ = encode(small_corpus.utterances, whisper, CPU, lines.append)
    assert len(lines) == 1
    assert all(torch.equal(a, b) for a, b in zip(features, again, strict=True))


@pytest.mark.parametrize("damage", ["cut", "bytes", "empty"])
def test_a_damaged_entry_is_computed_again(small_corpus, whisper, batches, damage):
    utterances = small_corpus.utterances[:3]
    features, _ = encode(utterances, whisper, CPU)
    batches.clear()
    entry = entries()[1]
    content = bytearray(entry.read_bytes())
    if damage == "bytes":
        content[-3] ^= 0x55
    entry.write_bytes({"cut": content[:-9], "bytes": content, "empty": b""}[damage])
    again, _ = encode(utterances, whisper, CPU)
    assert batches == [1]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(features, again, strict=True))


def test_other_settings_have_entries_of_their_own(small_corpus, folder, whisper):
    utterances = small_corpus.utterances[:2]
    encode(utterances, whisper, CPU)
    for other in (
        replace(whisper, max_frames=20),
        replace(whisper, precision="bf16"),
        frozen_front_end(EncoderSpec(f"hf/{folder}", {"freeze": "all", "pooling": "mean_std"}), 100, "fp32"),
    ):
        before = len(entries())
        encode(utterances, other, CPU)
        assert len(entries()) == before + 2


def test_another_encoder_in_the_same_folder_is_refused(small_corpus, tmp_path):
    source = save_tiny(tmp_path / "model", "whisper")
    named = frozen_front_end(EncoderSpec(f"hf/{source}", {"freeze": "all"}), 100, "fp32")
    load_frozen.cache_clear()
    save_tiny(source, "whisper")  # other random weights
    with pytest.raises(
        ConfigError, match=r"hf/model \(freeze=all\): its weights or settings are others .* put the encoder back"
    ):
        encode(small_corpus.utterances[:2], named, CPU)
    assert not entries()


def test_a_file_that_cannot_be_read_costs_the_others_nothing(small_corpus, whisper, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF no audio")
    broken = replace(small_corpus.utterances[1], key="broken", path=tmp_path / "broken.wav")
    gone = replace(small_corpus.utterances[1], key="gone", path=tmp_path / "gone.wav")
    features, problems = encode([small_corpus.utterances[0], broken, gone], whisper, CPU)
    assert features[0] is not None
    assert features[1:] == [None, None]
    assert problems.keys() == {"broken", "gone"}
    assert problems["gone"] == "no such file"


def test_a_full_disk_ends_it_and_what_is_written_stays(small_corpus, whisper, monkeypatch):
    write, written = __import__("benchmarks.data.encoding", fromlist=["x"]).write_features, []

    def fails_at_the_fifth(file, states):
        if len(written) == 4:
            raise OSError(28, "No space left on device", str(file))
        written.append(file)
        write(file, states)

    monkeypatch.setattr("benchmarks.data.encoding.write_features", fails_at_the_fifth)
    with pytest.raises(OSError, match="No space left"):
        encode(small_corpus.utterances, whisper, CPU)
    assert entries() == sorted(written)
    monkeypatch.undo()


PROGRAM = """
import sys, time
from pathlib import Path
import torch
from benchmarks.corpora import load_corpus
from benchmarks.data import encoding
from benchmarks.data.front_end import EncoderSpec, frozen_front_end
slow, write = float(sys.argv[3]), encoding.write_features
encoding.write_features = lambda file, states: (time.sleep(slow), write(file, states))
corpus = load_corpus("synthetic", Path(sys.argv[1]))
end = frozen_front_end(EncoderSpec("hf/" + sys.argv[2], {"freeze": "all", "layer_weights": True}), 100, "fp32")
features, _ = encoding.encode(corpus.utterances, end, torch.device("cpu"), print)
print(float(torch.stack(features).double().sum()))
"""


def start(root, folder, slow):
    arguments = [sys.executable, "-c", PROGRAM, str(root), str(folder), str(slow)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)


def test_killed_in_the_middle_it_goes_on_and_two_at_once_agree(small_root, small_corpus, folder, whisper):
    killed = start(small_root, folder, 0.2)
    deadline = time.monotonic() + 120
    while len(entries()) < 5:
        assert time.monotonic() < deadline
        assert killed.poll() is None, killed.stderr.read()
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    there = len(entries())
    assert there < len(small_corpus.utterances)
    both = [start(small_root, folder, 0) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    features, _ = encode(small_corpus.utterances, whisper, CPU)
    expected = float(torch.stack(features).double().sum())
    for out, _ in outputs:
        assert float(out.splitlines()[-1]) == pytest.approx(expected, abs=1e-3)
    assert len(entries()) == len(small_corpus.utterances)
    assert not list(cache_root().rglob("*.tmp*"))
