from pathlib import Path

import pytest

from benchmarks.corpora import Corpus, load_corpus
from benchmarks.errors import CorpusError
from tests.benchmarks.corpora.trees import WAV, WORDS, meta, msp_improv_labels, msp_improv_tree, write

NAME = "MSP-IMPROV-S01A-F01-S-FM01"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return load_corpus("msp-improv", msp_improv_tree(tmp_path_factory.mktemp("msp")))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    write(tmp_path / f"{NAME}.wav", WAV)
    return tmp_path


def test_the_full_release_has_7798_utterances_of_the_four_classes(corpus: Corpus) -> None:
    assert corpus.counts() == {"angry": 792, "happy": 2644, "neutral": 3477, "sad": 885}
    assert corpus.counts() == corpus.info.counts
    assert len(corpus.utterances) == 7798


def test_every_label_and_speaker_is_that_of_the_published_list(corpus: Corpus) -> None:
    # The list writes 01M for M01.
    expected = {
        row["filename"]: (WORDS[row["label"]], row["speaker"][-1] + row["speaker"][:2], row["sex"])
        for row in meta("msp_improv_4class.tsv")
    }
    assert {u.key: (u.label, u.speaker, u.sex) for u in corpus.utterances} == expected


def test_the_label_is_the_consensus_and_not_the_target_emotion_of_the_name(corpus: Corpus) -> None:
    differing = sum(u.label != WORDS[u.key.split("-")[2][-1]] for u in corpus.utterances)
    assert differing > 1000


def test_the_twelve_speakers_sit_in_six_sessions_of_two(corpus: Corpus) -> None:
    pairs = {f"{n}": {f"F0{n}", f"M0{n}"} for n in range(1, 7)}
    assert {s: {u.speaker for u in corpus.utterances if u.session == s} for s in pairs} == pairs
    assert len(corpus.speakers) == corpus.info.speakers == 12


def test_the_other_640_are_skipped_and_nothing_else_is_reported(corpus: Corpus) -> None:
    report = corpus.report
    assert report.skipped == {"no agreement": 512, "other": 128}
    assert (report.missing, report.unreadable, report.unknown, report.duplicates) == ([], {}, [], [])


@pytest.mark.parametrize("label_file", ["Evalution.txt", "Evaluation.txt", "docs/labels/Evalution.txt"])
def test_the_label_file_is_found_by_either_spelling_at_any_depth(small: Path, label_file: str) -> None:
    write(small / label_file, msp_improv_labels([(NAME, "S")]))
    assert [u.label for u in load_corpus("msp-improv", small).utterances] == ["sad"]


def test_missing_audio_is_reported_for_the_four_classes_only(small: Path) -> None:
    absent = [("MSP-IMPROV-S02A-M03-P-MF07", "H"), ("MSP-IMPROV-S02A-M03-P-MF08", "X")]
    write(small / "Evalution.txt", msp_improv_labels([(NAME, "S"), *absent]))
    report = load_corpus("msp-improv", small).report
    assert report.missing == ["MSP-IMPROV-S02A-M03-P-MF07"]
    assert report.skipped == {"no agreement": 1}


def test_an_unknown_consensus_names_the_file_the_line_and_the_code(small: Path) -> None:
    write(small / "Evalution.txt", msp_improv_labels([(NAME, "Q")]))
    with pytest.raises(CorpusError, match=r"Evalution\.txt, line 1: unknown emotion 'Q'.*A, H, N, S"):
        load_corpus("msp-improv", small)


def test_a_label_line_of_another_form_is_an_error_not_a_loss(small: Path) -> None:
    write(small / "Evalution.txt", "UTD-IMPROV-S01A-F01.avi; N;\n")
    with pytest.raises(CorpusError, match=r"line 1: .*S01A-F01\.avi.* is no label line"):
        load_corpus("msp-improv", small)


def test_audio_without_a_label_file_is_an_error_that_names_the_file(small: Path) -> None:
    with pytest.raises(CorpusError, match=r"nothing of MSP-IMPROV.*saw 1 audio files.*Evalution\.txt"):
        load_corpus("msp-improv", small)
