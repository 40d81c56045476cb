"""The two corpora that lie beside the project, read where they are."""

from dataclasses import replace

import pytest

from benchmarks.corpora import Corpus, load_corpus
from tests.benchmarks.corpora.trees import data_folder


@pytest.fixture(scope="module")
def ravdess() -> Corpus:
    return load_corpus("ravdess", data_folder("ravdess"))


@pytest.fixture(scope="module")
def nemo() -> Corpus:
    return load_corpus("nemo", data_folder("nemo"))


def test_ravdess_has_672_utterances_of_24_actors(ravdess: Corpus) -> None:
    assert ravdess.counts() == {"angry": 192, "happy": 192, "neutral": 96, "sad": 192}
    assert len(ravdess.utterances) == 672
    assert len(ravdess.speakers) == 24


def test_ravdess_actors_are_half_women_and_lie_in_folders_of_their_number(ravdess: Corpus) -> None:
    sexes = {u.speaker: u.sex for u in ravdess.utterances}
    assert list(sexes.values()).count("F") == 12
    assert all(u.path.parent.name == f"Actor_{u.speaker}" for u in ravdess.utterances)


def test_nemo_has_3076_utterances_of_9_speakers(nemo: Corpus) -> None:
    assert nemo.counts() == {"angry": 749, "happy": 749, "neutral": 809, "sad": 769}
    assert len(nemo.utterances) == 3076
    assert nemo.speakers == ["EB0", "IC0", "KD0", "KS0", "MK0", "MP0", "SM0", "TP0", "WR0"]


def test_nemo_sex_is_that_of_the_table(nemo: Corpus) -> None:
    assert {u.speaker for u in nemo.utterances if u.sex == "F"} == {"EB0", "IC0", "KD0", "MK0"}
    assert all(u.sex in ("F", "M") for u in nemo.utterances)


@pytest.mark.parametrize("name", ["ravdess", "nemo"])
def test_the_counts_are_the_expected_ones_and_the_report_is_empty(name: str, request: pytest.FixtureRequest) -> None:
    corpus: Corpus = request.getfixturevalue(name)
    assert corpus.counts() == corpus.info.counts
    assert len(corpus.speakers) == corpus.info.speakers
    assert replace(corpus.report, remarks=[]) == type(corpus.report)()
