import pytest

from benchmarks.studies.damage import Wrong
from benchmarks.studies.fuzz_readers import READERS, fuzz


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_refused_in_one_line_or_read_right(name):
    outcome = fuzz(name, 40, seed=1)
    assert outcome.failures == []
    assert outcome.counts.total() == 40
    assert outcome.counts["read"] > 0


def test_a_reader_that_breaks_is_noticed(monkeypatch):
    def breaks(rng, folder):
        raise [ValueError("no line of ours"), Wrong("what cannot be"), MemoryError()][rng.integers(3)]

    monkeypatch.setitem(READERS, "audio", breaks)
    assert len(fuzz("audio", 5, seed=0).failures) == 5
