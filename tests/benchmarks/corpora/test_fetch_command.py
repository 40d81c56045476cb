import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.corpora.sources import SOURCES
from tests.benchmarks.corpora.archives import left
from tests.benchmarks.corpora.server import FileServer


def test_the_command_says_what_was_fetched_and_how_to_go_on(dsnet, ravdess: FileServer, tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    for last_word in ("to", "already"):
        status, out, errors = dsnet("corpora", "fetch", "ravdess", "--to", folder)
        assert (status, errors) == (0, [])
        assert last_word in out
        *_, summary, further = out.splitlines()
        assert summary == "complete: 672 utterances of 24 speakers, as in the release"
        command = shlex.split(further.removeprefix("go on with: "))
        assert command == ["dsnet", "train", "--corpus", "ravdess", "--root", str(folder)]
    assert len(ravdess.requests) == 1
    assert summary in dsnet("corpora", "ravdess", "--root", folder)[1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("iemocap", "'iemocap' cannot be fetched, only ravdess, emodb, crema-d, nemo; its source: https://sail.usc"),
        ("ravdes", "'ravdes' cannot be fetched, only ravdess, emodb, crema-d, nemo"),
        ("emodb", "/absent.zip: the server answers 404 Not Found; try later, or look whether"),
        ("nemo", "no connection to 127.0.0.1:9 ([Errno"),
    ],
)
def test_what_cannot_be_fetched_is_one_line_and_status_2(
    dsnet, server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.setitem(SOURCES, "emodb", replace(SOURCES["emodb"], url=f"{server.address}/absent.zip"))
    monkeypatch.setitem(SOURCES, "nemo", replace(SOURCES["nemo"], url="http://127.0.0.1:9/nemo.zip"))
    status, _, errors = dsnet("corpora", "fetch", name, "--to", tmp_path / "f")
    assert status == 2
    assert len(errors) == 1
    assert message in errors[0]
    assert left(tmp_path) == []


def test_without_pooch_the_command_says_which_extra_to_install(
    dsnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("benchmarks.corpora.fetch", "benchmarks.corpora.download"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.delattr("benchmarks.corpora.fetch", raising=False)
    monkeypatch.setitem(sys.modules, "pooch", None)
    status, _, errors = dsnet("corpora", "fetch", "ravdess", "--to", tmp_path / "r")
    assert status == 2
    assert errors == ["dsnet: corpora fetch needs pooch: pip install 'dsnet_plugin[fetch]'"]
