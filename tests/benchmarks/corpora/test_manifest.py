import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from benchmarks.corpora import Corpus, load_corpus
from benchmarks.corpora.manifest import LABELS
from benchmarks.data import FrontEnd
from benchmarks.data.features import extract
from benchmarks.errors import CorpusError
from benchmarks.grid.corpus_data import usable
from tests.benchmarks.corpora.trees import recording, write

Load = Callable[..., Corpus]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Writes a manifest beside ``wav/a.wav`` and ``wav/b.wav`` and loads it."""
    for name in ("a", "b"):
        write(tmp_path / f"wav/{name}.wav", recording(name))

    def write_and_load(text: str | bytes, **words: str) -> Corpus:
        return load_corpus("manifest", write(tmp_path / "corpus.csv", text), words)

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
            r"unknown labels: 'meh' \(1, first in line 3\); say what they mean, as with --map meh=.*; accepted are .*joy",
        ),
        ("path,speaker,label\nwav/a.wav,ann,\n", r"unknown labels: '' \(1, first in line 2\)"),
        ("path,speaker,label,sex\nwav/a.wav,ann,sad,x\n", r"line 2: unknown sex 'x'; accepted are female, f, male, m"),
        (
            "path,speaker,label,key\nwav/a.wav,ann,sad,u\nwav/b.wav,ann,fear,v\nwav/c.wav,ann,fear,v\n",
            r"line 4: the key 'v' is that of line 3 too",
        ),
        (
            "path,speaker,label\nwav/a.wav,f,gioia\nwav/b.wav,f,rabbia\nwav/c.wav,f,gioia\n",
            r"unknown labels: 'gioia' \(2, first in line 2\), 'rabbia' \(1, first in line 3\); .*--map gioia=happy",
        ),
        ("path,speaker,label,Speaker\nwav/a.wav,ann,sad,bob\n", r"the column speaker is there twice"),
        (
            "path,speaker,label\nwav/a.wav,ann,sad\n./wav/a.wav,dan,happy\n",
            r"line 3: \./wav/a\.wav is the audio of line 2 too; list it once",
        ),
        ("path,speaker,label,start\nwav/a.wav,ann,sad,soon\n", r"line 2: start 'soon'; expected seconds from 0 on"),
        ("path,speaker,label,start\nwav/a.wav,ann,sad,-1\n", r"line 2: start '-1'; expected seconds"),
        ("path,speaker,label,end\nwav/a.wav,ann,sad,inf\n", r"line 2: end 'inf'; expected seconds"),
        (
            "path,speaker,label,start,end\nwav/a.wav,ann,sad,2,1.5\n",
            r"line 2: ends at 1\.5 s and starts at 2 s; expected a later end",
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

    monkeypatch.setattr("os.walk", refuse)
    assert len(load("path,speaker,label\nwav/a.wav,ann,angry\n").utterances) == 1


def minute(path: Path) -> Path:
    """A minute of which every second has its own level."""
    soundfile.write(path, np.repeat(np.arange(60) / 100, 16_000), 16_000)
    return path


def test_start_and_end_make_a_row_a_part_of_its_file(load: Load, tmp_path: Path) -> None:
    minute(tmp_path / "wav/long.wav")
    corpus = load(
        "path,speaker,label,start,end\nwav/long.wav,ann,sad,10,12.5\nwav/long.wav,bob,happy,0 days 00:00:30,\n"
        "wav/long.wav,cem,angry,,5.04\nwav/b.wav,cem,angry,NaT,\n"
    )
    assert {(u.key, u.speaker, u.start, u.end) for u in corpus.utterances} == {
        ("wav/long.wav@10-12.5", "ann", 10.0, 12.5),
        ("wav/long.wav@30-", "bob", 30.0, None),
        ("wav/long.wav@0-5.04", "cem", 0.0, 5.04),
        ("wav/b.wav", "cem", 0.0, None),
    }
    features, problems = extract(corpus.utterances, 6000)
    assert not problems
    lengths = {u.key: len(own) for u, own in zip(corpus.utterances, features, strict=True)}
    assert lengths["wav/long.wav@10-12.5"] == 248
    assert lengths["wav/long.wav@30-"] == 2998
    waveforms, _ = extract(corpus.utterances, 6000, "waveform")
    heard = dict(zip((u.key for u in corpus.utterances), waveforms, strict=True))
    assert heard["wav/long.wav@10-12.5"].unique().tolist() == pytest.approx([0.10, 0.11, 0.12], abs=1e-4)


def test_a_segment_beyond_the_end_of_its_file_is_reported(load: Load, tmp_path: Path) -> None:
    minute(tmp_path / "wav/long.wav")
    rows = "wav/long.wav,ann,sad,10,61\nwav/long.wav,ann,sad,61,\nwav/long.wav,a,sad,1,2\n"
    assert load(f"path,speaker,label,start,end\n{rows}").report.unreadable == {
        "wav/long.wav@10-61": "ends at 61 s, but the file lasts 60.000 s",
        "wav/long.wav@61-": "starts at 61 s, but the file lasts 60.000 s",
    }


def test_words_of_the_user_are_labels_and_excited_speech_is_said_to_be_happy(load: Load) -> None:
    text = "path,speaker,label\nwav/a.wav,ann,Gioia\nwav/b.wav,ann,Excited\n"
    corpus = load(text, gioia="happy")
    assert corpus.counts()["happy"] == 2
    assert corpus.report.remarks == ["1 excited utterances count as happy; --map excited=other leaves them out"]
    assert load(text, gioia="happy", excited="other").report.remarks == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"sad": "sorry"}, r"--map sad=sorry: no such label; expected one of angry, happy"),
        ({"gioja": "happy"}, r"--map gioja=happy: no row of .* has the label 'gioja'"),
    ],
)
def test_words_that_mean_nothing_are_refused(load: Load, words: dict[str, str], message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        load("path,speaker,label\nwav/a.wav,ann,sad\n", **words)


def test_words_for_a_corpus_whose_labels_are_known_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="--map goes with manifest alone"):
        load_corpus("ravdess", tmp_path, {"gioia": "happy"})


def test_paths_with_backslashes_are_read_and_it_is_said(load: Load) -> None:
    corpus = load("path,speaker,label\nwav\\a.wav,ann,sad\nwav/b.wav,ann,sad\n")
    assert len(corpus.utterances) == 2
    assert corpus.report.remarks == ["1 paths are written with backslashes and read with slashes"]


@pytest.mark.parametrize(
    ("rows", "remark"),
    [
        ("wav/a.wav,ann,sad,F\nwav/b.wav,ann,happy,M\n", "1 speakers are of both sexes: ann (1 F and 1 M); "),
        ("wav/a.wav,f1,sad,\nwav/b.wav,F1,happy,\n", "the speakers 'F1' and 'f1' count as different people; "),
        ("wav/a.wav,01,sad,\nwav/b.wav,1,happy,\n", "the speakers '01' and '1' count as different people; "),
    ],
)
def test_speakers_that_may_be_one_or_two_are_said(load: Load, rows: str, remark: str) -> None:
    (said,) = load(f"path,speaker,label,sex\n{rows}").report.remarks
    assert said.startswith(remark)


def test_one_recording_under_two_names_is_said_and_under_two_speakers_loudly(load: Load, tmp_path: Path) -> None:
    write(tmp_path / "wav/c.wav", recording("a"))
    rows = "path,speaker,label\nwav/a.wav,ann,sad\nwav/b.wav,bob,sad\nwav/c.wav,{},sad\n"
    twice = "1 recordings are there twice, byte for byte, such as wav/a.wav and wav/c.wav"
    assert load(rows.format("ann")).report.remarks == [twice]
    assert load(rows.format("bob")).report.remarks == [
        twice,
        "one recording under the speakers ann, bob: wav/a.wav, wav/c.wav; it may be trained on and tested on",
    ]


def test_segments_of_two_speakers_that_overlap_are_said(load: Load, tmp_path: Path) -> None:
    minute(tmp_path / "wav/long.wav")
    name = "wav/long.wav"
    rows = f"path,speaker,label,start,end\n{name},ann,sad,0,30\n{name},ann,sad,1,3\n{name},bob,sad,"
    (remark,) = load(rows + "29.5,50\n").report.remarks
    assert remark.startswith("1 segments of two speakers overlap, such as wav/long.wav@0-30 and wav/long.wav@29.5-50")
    assert load(rows + "30,50\n").report.remarks == []


def test_a_pipe_in_the_place_of_the_manifest_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(CorpusError, match="neither a folder nor a regular file"):
        load_corpus("manifest", tmp_path / "pipe.csv")


def test_what_is_odd_is_said_before_a_training(load: Load) -> None:
    said: list[str] = []
    corpus = load("path,speaker,label\nwav/a.wav,f1,sad\nwav/b.wav,F1,excited\n")
    usable(corpus, FrontEnd("lmfb", 20), torch.device("cpu"), False, said.append)
    assert [line[:41] for line in said] == [
        "note: a manifest: 1 excited utterances co",
        "note: a manifest: the speakers 'F1' and '",
    ]
