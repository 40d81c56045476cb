from pathlib import Path

import pytest

from benchmarks.corpora import CORPORA, EMOTIONS, Corpus, load_corpus
from benchmarks.errors import CorpusError
from tests.benchmarks.corpora.trees import WAV, encoded, write, write_audio

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 72364\n"


def load(root: Path, content: bytes | str) -> Corpus:
    """A RAVDESS folder with one good recording and one with this content."""
    write_audio(root, ["Actor_02/03-01-03-01-01-01-02.wav"])
    write(root / "Actor_01/03-01-05-01-01-01-01.wav", content)
    return load_corpus("ravdess", root)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("this is no audio at all\n" * 10, "not readable as audio (Format not recognised"),
        (b"", "the file is empty"),
        (WAV[:20], "not readable as audio (Error in WAV"),
        (encoded("WAV", samples=0), "an audio file with 0 samples"),
    ],
    ids=["text", "empty", "truncated header", "no samples"],
)
def test_unreadable_audio_is_reported_with_the_reason_and_the_rest_is_kept(
    tmp_path: Path, content: bytes | str, reason: str
) -> None:
    corpus = load(tmp_path, content)
    assert [u.speaker for u in corpus.utterances] == ["02"]
    ((name, seen),) = corpus.report.unreadable.items()
    assert name == "Actor_01/03-01-05-01-01-01-01.wav"
    assert seen.startswith(reason)
    assert corpus.report.absent == 1


def test_a_git_lfs_pointer_is_reported_as_such_and_not_as_unreadable(tmp_path: Path) -> None:
    report = load(tmp_path, POINTER).report
    assert report.pointers == ["Actor_01/03-01-05-01-01-01-01.wav"]
    assert report.unreadable == {}
    assert report.absent == 1


def test_good_audio_leaves_an_empty_report(tmp_path: Path) -> None:
    report = load(tmp_path, WAV).report
    assert report == type(report)()
    assert report.absent == 0


def test_absent_counts_missing_unreadable_and_pointers(tmp_path: Path) -> None:
    for name, content in {"a": WAV, "b": "text", "c": POINTER}.items():
        write(tmp_path / f"{name}.wav", content)
    rows = "\n".join(f"{name}.wav,ann,sad" for name in "abcd")
    report = load_corpus("manifest", write(tmp_path / "m.csv", f"path,speaker,label\n{rows}\n")).report
    assert (report.missing, list(report.unreadable), report.pointers) == (["d.wav"], ["b.wav"], ["c.wav"])
    assert report.absent == 3


def test_the_first_file_of_a_name_in_sorted_order_is_used(tmp_path: Path) -> None:
    write_audio(tmp_path, [f"{folder}/03-01-05-01-01-01-01.wav" for folder in ("b", "a", "c")])
    corpus = load_corpus("ravdess", tmp_path)
    assert [u.path.parent.name for u in corpus.utterances] == ["a"]
    assert corpus.report.duplicates == ["b/03-01-05-01-01-01-01.wav", "c/03-01-05-01-01-01-01.wav"]


def test_a_folder_named_like_audio_is_no_audio(tmp_path: Path) -> None:
    (tmp_path / "03-01-05-01-01-01-01.wav").mkdir()
    write_audio(tmp_path, ["03-01-05-01-01-01-02.wav"])
    corpus = load_corpus("ravdess", tmp_path)
    assert len(corpus.utterances) == 1
    assert corpus.report == type(corpus.report)()


def test_utterances_are_sorted_by_key(tmp_path: Path) -> None:
    write_audio(tmp_path, ["a/03-01-05-01-01-01-02.wav", "b/03-01-04-01-01-01-01.wav"])
    keys = [u.key for u in load_corpus("ravdess", tmp_path).utterances]
    assert keys == ["03-01-04-01-01-01-01", "03-01-05-01-01-01-02"]


@pytest.mark.parametrize("name", [name for name in CORPORA if name not in ("manifest", "synthetic")])
def test_a_folder_with_nothing_of_the_corpus_says_what_was_seen_and_expected(tmp_path: Path, name: str) -> None:
    write_audio(tmp_path, ["holiday/song.wav"])
    with pytest.raises(
        CorpusError, match=r"nothing of .*: saw 1 audio files, such as holiday/song\.wav; expected"
    ) as seen:
        load_corpus(name, tmp_path)
    assert CORPORA[name].layout in str(seen.value)


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"saw 0 audio files; expected names like wav/03a01Fa\.wav"):
        load_corpus("emodb", tmp_path)


@pytest.mark.parametrize("name", ["emodb", "iemocap", "manifest"])
def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match=r"no folder .*nowhere: give the corpus' own folder"):
        load_corpus(name, tmp_path / "nowhere")


def test_a_file_in_the_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="is a file; give the corpus' own folder"):
        load_corpus("emodb", write(tmp_path / "emodb.zip", b"PK"))


def test_an_unknown_corpus_hints_at_the_nearest_name() -> None:
    with pytest.raises(CorpusError, match="unknown corpus 'iemocop'; did you mean iemocap"):
        load_corpus("iemocop", ".")


def test_an_unknown_corpus_like_no_other_lists_the_known_names() -> None:
    with pytest.raises(CorpusError, match=r"known: .*emodb.*urdu"):
        load_corpus("zzzzzz", ".")


def test_every_corpus_is_registered_with_what_is_known_of_it() -> None:
    named = {"iemocap", "msp-improv", "emodb", "ravdess", "crema-d", "nemo", "urdu", "savee", "tess", "esd"}
    named |= {"emovo", "casia", "shemo", "ased"}
    assert named | {"manifest"} <= set(CORPORA)
    for name in named:
        info = CORPORA[name]
        assert tuple(info.counts) == EMOTIONS
        assert info.source.startswith("http")
        assert info.licence
        assert info.language


@pytest.mark.parametrize(
    ("name", "total", "speakers"),
    [
        ("iemocap", 5531, 10),
        ("msp-improv", 7798, 12),
        ("emodb", 339, 10),
        ("ravdess", 672, 24),
        ("crema-d", 4900, 91),
        ("nemo", 3076, 9),
        ("urdu", 400, 29),
        ("savee", 300, 4),
        ("tess", 1600, 2),
        ("esd", 28_000, 20),
        ("emovo", 336, 6),
        ("casia", 800, 4),
        ("shemo", 2737, 87),
        ("ased", 1964, 64),
    ],
)
def test_the_expected_totals_are_those_of_the_releases(name: str, total: int, speakers: int) -> None:
    assert (sum(CORPORA[name].counts.values()), CORPORA[name].speakers) == (total, speakers)
