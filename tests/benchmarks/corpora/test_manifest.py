from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.corpora import Corpus, load_corpus
from benchmarks.corpora.manifest import LABELS
from benchmarks.errors import CorpusError
from tests.benchmarks.corpora.trees import WAV, write

Load = Callable[..., Corpus]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Writes a manifest beside ``wav/a.wav`` and ``wav/b.wav`` and loads it."""
    for name in ("a", "b"):
        write(tmp_path / f"wav/{name}.wav", WAV)

    def write_and_load(text: str | bytes) -> Corpus:
        return load_corpus("manifest", write(tmp_path / "corpus.csv", text))

    return write_and_load


def fields(corpus: Corpus) -> list[tuple[str, str, str]]:
    return [(u.path.name, u.speaker, u.label) for u in corpus.utterances]


def test_a_row_is_an_utterance_whose_path_starts_at_the_manifest(load: Load, tmp_path: Path) -> None:
    corpus = load("path,speaker,label\nwav/a.wav,ann,angry\nwav/b.wav,bob,sad\n")
    assert fields(corpus) == [("a.wav", "ann", "angry"), ("b.wav", "bob", "sad")]
    assert [u.key for u in corpus.utterances] == ["wav/a.wav", "wav/b.wav"]
    assert corpus.utterances[0].path == tmp_path / "wav/a.wav"
    assert {u.sex for u in corpus.utterances} == {u.session for u in corpus.utterances} == {None}


def test_a_path_may_be_absolute(load: Load, tmp_path: Path) -> None:
    assert load(f"path,speaker,label\n{tmp_path}/wav/a.wav,ann,angry\n").utterances[0].path == tmp_path / "wav/a.wav"


def test_the_further_columns_are_key_sex_and_session_and_unknown_ones_do_no_harm(load: Load) -> None:
    corpus = load("session,label,age,path,SEX,Speaker,key\n3,sad,27,wav/a.wav,Female,ann,u1\n,sad,27,wav/b.wav,,bob,\n")
    first, second = corpus.utterances
    assert (first.key, first.sex, first.session, first.speaker) == ("u1", "F", "3", "ann")
    assert (second.key, second.sex, second.session) == ("wav/b.wav", None, None)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "BOM"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_separator_byte_order_mark_and_line_ends_are_recognised(
    load: Load, separator: str, mark: bytes, newline: str
) -> None:
    rows = (("path", "speaker", "label"), ("wav/a.wav", " Zoë ", "happy"), ("", "", ""))
    text = newline.join(separator.join(row) for row in rows)
    assert fields(load(mark + text.encode())) == [("a.wav", "Zoë", "happy")]


@pytest.mark.parametrize(("label", "words"), LABELS.items(), ids=list(LABELS))
def test_every_accepted_word_gives_its_label_in_any_case(load: Load, label: str, words: tuple[str, ...]) -> None:
    for word in words:
        corpus = load(f"path,speaker,label\nwav/a.wav,ann,{word.title()}\nwav/b.wav,ann,Neutral\n")
        seen = [u.label for u in corpus.utterances if u.path.name == "a.wav"] + list(corpus.report.skipped)
        assert seen == [label]


def test_the_synonyms_of_the_four_classes_are_accepted() -> None:
    assert {"anger", "ang", "a"} <= set(LABELS["angry"])
    assert {"happiness", "joy", "hap", "h", "excited"} <= set(LABELS["happy"])
    assert {"neu", "n"} <= set(LABELS["neutral"])
    assert {"sadness", "s"} <= set(LABELS["sad"])


def test_labels_outside_the_four_classes_are_skipped_and_counted(load: Load) -> None:
    corpus = load("path,speaker,label\nwav/a.wav,ann,fear\nwav/b.wav,ann,neutral\nwav/c.wav,ann,Fearful\n")
    assert corpus.report.skipped == {"fearful": 2}
    assert corpus.report.missing == []


def test_files_that_are_not_there_are_reported_as_missing(load: Load) -> None:
    corpus = load("path,speaker,label\nwav/a.wav,ann,angry\nwav/z.wav,ann,angry\n")
    assert corpus.report.missing == ["wav/z.wav"]
    assert corpus.counts()["angry"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"corpus\.csv: no first line; expected a header with the columns path, speaker, label"),
        ("\n\n", r"corpus\.csv: no first line"),
        ("path,speaker,label\n", r"corpus\.csv: a header and no rows"),
        ("path,emotion\nwav/a.wav,sad\n", r"corpus\.csv: no column speaker, label; the first line has path, emotion"),
        ("path,speaker,label\nwav/a.wav,,sad\n", r"line 2: empty speaker"),
        ("path,speaker,label\n,ann,sad\n", r"line 2: empty path"),
        (
            "path,speaker,label\nwav/a.wav,ann,sad\nwav/b.wav,ann,meh\n",
            r"line 3: unknown label 'meh'; accepted are .*joy",
        ),
        ("path,speaker,label\nwav/a.wav,ann,\n", r"line 2: unknown label ''"),
        ("path,speaker,label,sex\nwav/a.wav,ann,sad,x\n", r"line 2: unknown sex 'x'; accepted are female, f, male, m"),
        (
            "path,speaker,label,key\nwav/a.wav,ann,sad,u\nwav/b.wav,ann,fear,v\nwav/c.wav,ann,fear,v\n",
            r"line 4: the key 'v' is that of line 3 too",
        ),
        ("path,speaker,label\nwav/a.wav,ann\n", r"line 2: 2 values, but the header has 3 columns"),
        ("path,speaker,label\nwav/a.wav,ann,sad,5\n", r"line 2: 4 values, but the header has 3 columns"),
        ('path,speaker,label\n"wav/a.wav,ann,sad\nwav/b.wav,ann,sad\n', r"line 3: .*quotation mark without its pair"),
        ("path,speaker,label\nwav/a.wav,Zoë,sad\n".encode("latin-1"), r"not UTF-8 text \(byte 31\)"),
    ],
)
def test_a_faulty_manifest_is_one_clear_error(load: Load, text: str | bytes, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        load(text)


def test_a_folder_in_the_place_of_the_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"is a folder; for manifest, give the CSV file itself with --root"):
        load_corpus("manifest", tmp_path)


def test_nothing_around_the_manifest_is_looked_at(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the folder was walked")

    monkeypatch.setattr(Path, "rglob", refuse)
    assert len(load("path,speaker,label\nwav/a.wav,ann,angry\n").utterances) == 1
