from collections import Counter
from pathlib import Path

import pytest

from benchmarks.corpora import Corpus, load_corpus
from benchmarks.errors import CorpusError
from tests.benchmarks.corpora.trees import WAV, WORDS, iemocap_labels, iemocap_tree, meta, write

# neutral, happy, sad, angry of each speaker, from the corpus' published lists
SPEAKERS = {
    "Ses01F": (171, 132, 78, 147),
    "Ses01M": (213, 146, 116, 82),
    "Ses02F": (135, 166, 113, 67),
    "Ses02M": (227, 161, 84, 70),
    "Ses03F": (130, 128, 172, 92),
    "Ses03M": (190, 158, 133, 148),
    "Ses04F": (76, 185, 62, 205),
    "Ses04M": (182, 118, 81, 122),
    "Ses05F": (221, 159, 132, 78),
    "Ses05M": (163, 283, 113, 92),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return load_corpus("iemocap", iemocap_tree(tmp_path_factory.mktemp("iemocap")))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    write(tmp_path / "wav/Ses01F_impro01_F000.wav", WAV)
    return tmp_path


def labels(root: Path, *turns: tuple[str, str]) -> Path:
    return write(root / "EmoEvaluation/Ses01F_impro01.txt", iemocap_labels(turns).encode("latin-1"))


def test_the_full_release_has_5531_utterances_of_the_four_classes(corpus: Corpus) -> None:
    assert corpus.counts() == {"angry": 1103, "happy": 1636, "neutral": 1708, "sad": 1084}
    assert corpus.counts() == corpus.info.counts
    assert len(corpus.utterances) == 5531


def test_every_label_and_speaker_is_that_of_the_published_list(corpus: Corpus) -> None:
    expected = {
        row["filename"]: (WORDS[row["label"]], row["speaker"], row["sex"]) for row in meta("iemocap_4class.tsv")
    }
    assert {u.key: (u.label, u.speaker, u.sex) for u in corpus.utterances} == expected


def test_each_speaker_has_the_published_counts(corpus: Corpus) -> None:
    counts = Counter((u.speaker, u.label) for u in corpus.utterances)
    order = ("neutral", "happy", "sad", "angry")
    assert {speaker: tuple(counts[speaker, label] for label in order) for speaker in corpus.speakers} == SPEAKERS
    assert corpus.info.speakers == len(SPEAKERS)


def test_the_speaker_is_the_prefix_of_the_name_in_only_2781(corpus: Corpus) -> None:
    assert sum(u.speaker == u.key[:6] for u in corpus.utterances) == 2781


def test_every_utterance_has_its_session(corpus: Corpus) -> None:
    assert all(u.session == u.speaker[:5] for u in corpus.utterances)
    assert {u.session for u in corpus.utterances} == {"Ses01", "Ses02", "Ses03", "Ses04", "Ses05"}


def test_the_other_4508_are_skipped_and_counted_by_emotion(corpus: Corpus) -> None:
    assert corpus.report.skipped == {
        "frustrated": 1849,
        "no agreement": 2507,
        "surprised": 107,
        "fearful": 40,
        "other": 3,
        "disgust": 2,
    }


def test_nothing_of_the_full_release_is_reported_as_absent_or_strange(corpus: Corpus) -> None:
    report = corpus.report
    assert (report.missing, report.unreadable, report.unknown, report.duplicates) == ([], {}, [], [])


def test_excited_counts_as_happy(small: Path) -> None:
    labels(small, ("Ses01F_impro01_F000", "exc"))
    assert [u.label for u in load_corpus("iemocap", small).utterances] == ["happy"]


@pytest.mark.parametrize(
    ("name", "speaker"),
    [
        ("Ses01F_impro04_M012", "Ses01M"),
        ("Ses01F_script01_3_F000", "Ses01F"),
        ("Ses03M_impro05b_F000", "Ses03F"),
        ("Ses05F_script01_3b_M004", "Ses05M"),
    ],
)
def test_the_speaker_is_the_session_and_the_letter_of_the_last_part(tmp_path: Path, name: str, speaker: str) -> None:
    write(tmp_path / f"{name}.WAV", WAV)
    labels(tmp_path, (name, "sad"))
    assert load_corpus("iemocap", tmp_path).speakers == [speaker]


def test_an_unknown_code_names_the_file_the_line_and_the_code(small: Path) -> None:
    labels(small, ("Ses01F_impro01_F000", "neu"), ("Ses01F_impro01_F001", "joy"))
    with pytest.raises(CorpusError, match=r"Ses01F_impro01\.txt, line 10: unknown emotion 'joy'.*neu, hap, exc"):
        load_corpus("iemocap", small)


def test_a_label_line_of_another_form_is_an_error_not_a_loss(small: Path) -> None:
    write(small / "EmoEvaluation/Ses01F_impro01.txt", "[6.2901 - 8.2357]\tSes01F_impro01_F000\n")
    with pytest.raises(CorpusError, match=r"line 1: .*Ses01F_impro01_F000.* is no label line"):
        load_corpus("iemocap", small)


def test_missing_audio_is_reported_for_the_four_classes_only(small: Path) -> None:
    labels(small, ("Ses01F_impro01_F000", "neu"), ("Ses01F_impro01_F001", "ang"), ("Ses01F_impro01_F002", "fru"))
    corpus = load_corpus("iemocap", small)
    assert corpus.report.missing == ["Ses01F_impro01_F001"]
    assert corpus.report.skipped == {"frustrated": 1}
    assert [u.key for u in corpus.utterances] == ["Ses01F_impro01_F000"]


def test_audio_without_a_label_is_reported_as_unknown(small: Path) -> None:
    labels(small, ("Ses01F_impro01_F000", "neu"))
    write(small / "wav/Ses01F_impro01_F999.wav", WAV)
    assert load_corpus("iemocap", small).report.unknown == ["wav/Ses01F_impro01_F999.wav"]


def test_one_utterance_with_two_labels_is_an_error(small: Path) -> None:
    labels(small, ("Ses01F_impro01_F000", "neu"), ("Ses01F_impro01_F000", "ang"))
    with pytest.raises(CorpusError, match="Ses01F_impro01_F000 is listed twice"):
        load_corpus("iemocap", small)


def test_audio_without_label_files_is_an_error_that_says_where_they_should_be(small: Path) -> None:
    with pytest.raises(CorpusError, match=r"nothing of IEMOCAP.*saw 1 audio files.*EmoEvaluation/Ses01F_impro04\.txt"):
        load_corpus("iemocap", small)
