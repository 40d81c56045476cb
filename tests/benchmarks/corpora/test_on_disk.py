"""Corpora as they lie on real disks: links, hidden folders, what stands for audio, names of folders further up."""

from pathlib import Path

import pytest

from benchmarks.corpora import load_corpus
from benchmarks.errors import CorpusError
from tests.benchmarks.corpora.trees import encoded, ravdess_names, recording, savee_names, write, write_audio

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 72364\n"
NAME = "03-01-05-01-01-01-01"


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    write_audio(tmp_path / "store", ravdess_names())
    (tmp_path / "ravdess").mkdir()
    for actor in range(1, 25):
        (tmp_path / f"ravdess/Actor_{actor:02d}").symlink_to(tmp_path / f"store/Actor_{actor:02d}")
    corpus = load_corpus("ravdess", tmp_path / "ravdess")
    assert (len(corpus.utterances), corpus.report.duplicates) == (672, [])


def test_a_link_back_up_does_not_lead_around_for_ever(tmp_path: Path) -> None:
    write_audio(tmp_path, [f"Actor_01/{NAME}.wav"])
    (tmp_path / "Actor_01/again").symlink_to(tmp_path)
    corpus = load_corpus("ravdess", tmp_path)
    assert (len(corpus.utterances), corpus.report.duplicates) == (1, [])


def test_links_to_what_is_not_there_are_mentioned_and_their_utterances_missing(tmp_path: Path) -> None:
    write_audio(tmp_path, [f"{NAME}.wav"])
    (tmp_path / "03-01-05-01-01-01-02.wav").symlink_to(".git/annex/objects/x.wav")
    (tmp_path / "Actor_03").symlink_to("nowhere")
    report = load_corpus("ravdess", tmp_path).report
    assert report.missing == ["03-01-05-01-01-01-02"]
    assert report.dangling == ["03-01-05-01-01-01-02.wav", "Actor_03"]
    assert report.absent == 1


def test_a_folder_of_empty_links_alone_says_so(tmp_path: Path) -> None:
    for actor in range(1, 25):
        (tmp_path / f"Actor_{actor:02d}").symlink_to("nowhere")
    with pytest.raises(CorpusError, match="saw 0 audio files, 24 links to what is not there"):
        load_corpus("ravdess", tmp_path)


@pytest.mark.parametrize("folder", [".Trash-1000/files", ".git/annex"])
def test_files_in_hidden_folders_do_not_count(tmp_path: Path, folder: str) -> None:
    write(tmp_path / folder / f"{NAME}.wav", recording("thrown away"))
    write_audio(tmp_path, [f"Actor_01/{NAME}.wav"])
    corpus = load_corpus("ravdess", tmp_path)
    assert [u.path for u in corpus.utterances] == [tmp_path / f"Actor_01/{NAME}.wav"]
    assert corpus.report == type(corpus.report)()


def test_a_corpus_below_a_hidden_folder_is_read(tmp_path: Path) -> None:
    write_audio(tmp_path / ".cache/corpora", [f"{NAME}.wav"])
    assert len(load_corpus("ravdess", tmp_path / ".cache/corpora").utterances) == 1


def test_esd_takes_no_label_from_a_folder_above_the_root(tmp_path: Path) -> None:
    write_audio(tmp_path / "Happy/esd", ["0011/0011_000351.wav", "0011/Angry/0011_000352.wav"])
    corpus = load_corpus("esd", tmp_path / "Happy/esd")
    assert [u.label for u in corpus.utterances] == ["angry"]
    assert corpus.report.unknown == ["0011/0011_000351.wav"]


def test_savee_and_casia_take_no_speaker_from_a_folder_above_the_root(tmp_path: Path) -> None:
    write_audio(tmp_path / "DC", ["a01.wav", "JE/a01.wav"])
    assert [u.key for u in load_corpus("savee", tmp_path / "DC").utterances] == ["JE_a01"]
    write_audio(tmp_path / "wangzhe/angry", ["201.wav", "liuchanhg/sad/201.wav"])
    assert [u.label for u in load_corpus("casia", tmp_path / "wangzhe/angry").utterances] == ["sad"]


def test_label_files_are_looked_for_below_the_root_alone(tmp_path: Path) -> None:
    root = tmp_path / "EmoEvaluation"
    write(root / "notes.txt", "[0.0 - 1.0]\tSes01F_impro01_F000\tneu\t[2.5, 2.5, 2.5]\n")
    write_audio(root, ["Ses01F_impro01_F000.wav"])
    with pytest.raises(CorpusError, match="nothing of IEMOCAP"):
        load_corpus("iemocap", root)


@pytest.mark.parametrize("stand_in", [POINTER, b"/annex/objects/MD5E-s9--1.wav\n", b""], ids=["LFS", "annex", "empty"])
def test_real_audio_is_used_before_what_stands_for_it(tmp_path: Path, stand_in: bytes) -> None:
    write(tmp_path / "AudioWAV/1001_DFA_ANG_XX.wav", stand_in)
    write(tmp_path / "AudioMP3/1001_DFA_ANG_XX.mp3", encoded("MP3", 16_000))
    corpus = load_corpus("crema-d", tmp_path)
    assert [u.path.suffix for u in corpus.utterances] == [".mp3"]
    assert corpus.report.duplicates == ["AudioWAV/1001_DFA_ANG_XX.wav"]
    assert corpus.report.absent == 0


def test_files_that_a_table_names_in_another_case_are_there(tmp_path: Path) -> None:
    write(tmp_path / "data.tsv", "file_id\temotion\tspeaker_id\tgender\nWR0_anger_1.wav\tanger\tWR0\tmale\n")
    write_audio(tmp_path, ["wr0_anger_1.WAV"])
    assert [u.key for u in load_corpus("nemo", tmp_path).utterances] == ["WR0_anger_1"]


def test_a_name_that_is_not_utf_8_is_read_and_its_report_can_be_printed(tmp_path: Path, dsnet) -> None:
    write_audio(tmp_path, [f"Actor_01/{NAME}.wav", "caf\udce9.wav"])
    status, out, errors = dsnet("corpora", "ravdess", "--root", tmp_path)
    assert (status, errors) == (0, [])
    assert "caf\\udce9.wav" in out
    out.encode()


def test_flac_of_a_stream_which_names_no_length_is_readable(tmp_path: Path) -> None:
    content = bytearray(encoded("FLAC", 16_000))
    content[21:26] = bytes([content[21] & 0xF0, 0, 0, 0, 0])  # the total of samples, 36 bits: 0 is "unknown"
    write(tmp_path / f"{NAME}.flac", bytes(content))
    corpus = load_corpus("ravdess", tmp_path)
    assert (len(corpus.utterances), corpus.report.unreadable) == (1, {})


def test_savee_in_lower_case_folders_is_the_same(tmp_path: Path) -> None:
    write_audio(tmp_path, [name.lower() for name in savee_names()])
    assert load_corpus("savee", tmp_path).counts() == {"angry": 60, "happy": 60, "neutral": 120, "sad": 60}
