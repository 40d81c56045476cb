from pathlib import Path

import pytest

from benchmarks.corpora.fetch import fetch
from benchmarks.errors import FetchError
from tests.benchmarks.corpora.archives import RAVDESS, left
from tests.benchmarks.corpora.server import FileServer
from tests.benchmarks.corpora.trees import write

CUT = 150_000
"""Where a transfer breaks off: after more than one of the pieces in which files are read."""


def test_a_bar_on_standard_error_shows_how_far_the_download_is(
    ravdess: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch("ravdess", tmp_path / "r")
    out, err = capsys.readouterr()
    assert "ravdess.zip:   0%|" in err
    assert "%|" not in out


def test_a_server_that_is_busy_for_a_moment_is_asked_again(ravdess: FileServer, tmp_path: Path) -> None:
    ravdess.busy = 1
    assert len(fetch("ravdess", tmp_path / "r").utterances) == 672
    assert len(ravdess.requests) == 2


@pytest.mark.parametrize("lengths", [True, False], ids=["with its length", "in chunks"])
def test_a_transfer_that_breaks_off_goes_on_from_its_last_byte(
    ravdess: FileServer, tmp_path: Path, lengths: bool
) -> None:
    ravdess.cut, ravdess.lengths = CUT, lengths
    with pytest.raises(FetchError, match=r"broke off after [\d,]+ (of [\d,]+ )?bytes; they are kept") as error:
        fetch("ravdess", tmp_path / "r")
    assert (f"of {len(RAVDESS):,} bytes" in str(error.value)) == lengths
    assert not (tmp_path / "r").exists()
    (part,) = left(tmp_path)
    kept = (tmp_path / part).read_bytes()
    assert 0 < len(kept) <= CUT
    assert RAVDESS.startswith(kept)
    ravdess.cut = None
    assert len(fetch("ravdess", tmp_path / "r").utterances) == 672
    assert ravdess.requests[-1].ranges == f"bytes={len(kept)}-"
    assert [request.sent for request in ravdess.requests] == [CUT, len(RAVDESS) - len(kept)]


def broken_off(server: FileServer, folder: Path) -> None:
    server.cut = CUT
    with pytest.raises(FetchError, match="broke off"):
        fetch("ravdess", folder)
    server.cut = None
    server.requests.clear()


def test_a_server_without_ranges_sends_the_whole_file_again(ravdess: FileServer, tmp_path: Path) -> None:
    broken_off(ravdess, tmp_path / "r")
    ravdess.ranges = False
    assert len(fetch("ravdess", tmp_path / "r").utterances) == 672
    assert [request.sent for request in ravdess.requests] == [len(RAVDESS)]


def test_a_range_that_was_not_asked_for_is_not_appended(ravdess: FileServer, tmp_path: Path) -> None:
    broken_off(ravdess, tmp_path / "r")
    ravdess.shift = 1
    assert len(fetch("ravdess", tmp_path / "r").utterances) == 672
    assert ravdess.requests[-1].ranges is None


def test_a_part_that_is_longer_than_the_file_is_replaced(ravdess: FileServer, tmp_path: Path) -> None:
    write(tmp_path / "r.download/ravdess.zip.part", RAVDESS + b"more")
    assert len(fetch("ravdess", tmp_path / "r").utterances) == 672
    assert [request.ranges for request in ravdess.requests] == [f"bytes={len(RAVDESS) + 4}-", None]
