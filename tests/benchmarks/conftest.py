import sys

import pytest
import torch

from benchmarks.commands.app import run_app
from benchmarks.corpora import load_corpus
from benchmarks.corpora.synthetic import SyntheticSettings, generate
from benchmarks.data.features import extract
from benchmarks.data.speech_data import SpeechData
from tests.benchmarks.methods.paired_batches import NarrowCNN

FRAMES = 32


@pytest.fixture(scope="session")
def small_root(tmp_path_factory):
    """Four speakers with three utterances of each class, half a second each."""
    root = tmp_path_factory.mktemp("corpora") / "small"
    generate(root, SyntheticSettings(speakers=4, utterances=12, correlation=0.0, seconds=0.5))
    return root


@pytest.fixture(scope="session")
def small_corpus(small_root):
    return load_corpus("synthetic", small_root)


@pytest.fixture(scope="session")
def small_data(small_corpus):
    features, problems = extract(small_corpus.utterances, FRAMES)
    assert not problems
    return SpeechData(small_corpus.utterances, features, FRAMES, torch.device("cpu"))


@pytest.fixture(scope="module")
def narrow_cnn():
    """The paper's encoder with few channels, in this process and for one module: where the encoder is not what is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backbones.cnn.CNNEncoder", NarrowCNN)
        yield


@pytest.fixture
def dsnet(monkeypatch, capsys):
    """Runs ``dsnet ARGUMENTS`` in this process; gives exit status, standard output, and the lines of standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["dsnet", *map(str, arguments)])
        capsys.readouterr()
        status = run_app()
        captured = capsys.readouterr()
        # A progress bar that has ended leaves blanks and carriage returns, one below another moves of the cursor.
        lines = [line.strip() for line in captured.err.replace("\r", "\n").replace("\x1b[A", "").splitlines()]
        return status, captured.out, [line for line in lines if line and "it/s" not in line and "%|" not in line]

    return call
