import pytest

from benchmarks.corpora import load_or_generate
from benchmarks.corpora.synthetic import SyntheticSettings, generate
from benchmarks.errors import CorpusError

SMALL = {"speakers": 2, "utterances": 8, "seconds": 0.5}


def test_without_a_root_the_corpus_of_the_options_is_made_in_the_cache_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("DSNET_CACHE", str(tmp_path))
    corpus = load_or_generate("synthetic", **SMALL)
    assert corpus.root.parent == tmp_path
    assert (len(corpus.speakers), len(corpus.utterances)) == (2, 16)
    monkeypatch.setattr("benchmarks.corpora.synthesis.make_utterance", lambda *_: pytest.fail("made again"))
    assert load_or_generate("synthetic", **SMALL).utterances == corpus.utterances


def test_a_root_that_is_not_there_is_made_and_one_that_is_there_is_taken_as_it_is(tmp_path):
    made = load_or_generate("synthetic", tmp_path / "new", **SMALL)
    assert made.root == tmp_path / "new"
    assert load_or_generate("synthetic", tmp_path / "new").utterances == made.utterances


def test_a_root_of_other_options_is_refused(tmp_path):
    generate(tmp_path / "mine", SyntheticSettings(**SMALL))
    with pytest.raises(CorpusError, match=r"holds a synthetic corpus of correlation=0\.5 \(asked: 0\.25\)"):
        load_or_generate("synthetic", tmp_path / "mine", **SMALL, correlation=0.25)


@pytest.mark.parametrize("name", ["nemo", "no-such-corpus"])
def test_any_other_corpus_is_loaded_alone(tmp_path, name):
    with pytest.raises(CorpusError, match=r"unknown corpus|no folder"):
        load_or_generate(name, tmp_path / "nowhere")
    assert not list(tmp_path.iterdir())
