"""The corpora whose labels are in the names: each tree has the release's names, other emotions, and strange files."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.corpora import CORPORA, EMOTIONS, Corpus, Utterance, load_corpus
from benchmarks.errors import CorpusError
from tests.benchmarks.corpora.trees import (
    MACOS,
    NEMO_SPEAKERS,
    WAV,
    ased_names,
    casia_names,
    crema_d_demographics,
    crema_d_names,
    emodb_names,
    emovo_names,
    esd_names,
    nemo_names,
    nemo_table,
    ravdess_names,
    savee_names,
    shemo_names,
    tess_names,
    urdu_names,
    write,
    write_audio,
)


@dataclass(frozen=True)
class Case:
    """What must come out of a tree: four-class counts, other emotions, speakers, and one utterance by hand."""

    corpus: str
    names: Callable[[], Iterable[str]]
    counts: tuple[int, int, int, int]  # angry, happy, neutral, sad
    skipped: dict[str, int]
    speakers: set[str]
    example: tuple[str, str, str, str | None]  # key, speaker, label, sex

    def __str__(self) -> str:
        return self.corpus


CASES = (
    Case(
        "emodb",
        emodb_names,
        (100, 100, 100, 100),
        {"boredom": 100, "disgust": 100, "fearful": 100},
        {"03", "08", "09", "10", "11", "12", "13", "14", "15", "16"},
        ("03a01Fa", "03", "happy", "M"),
    ),
    Case(
        "ravdess",
        ravdess_names,
        (192, 192, 96, 192),
        {"calm": 192, "fearful": 192, "disgust": 192, "surprised": 192},
        {f"{actor:02d}" for actor in range(1, 25)},
        ("03-01-05-02-01-02-12", "12", "angry", "F"),
    ),
    Case(
        "crema-d",
        crema_d_names,
        (140, 140, 120, 140),
        {"disgust": 140, "fearful": 140},
        {str(actor) for actor in range(1001, 1011)},
        ("1001_DFA_ANG_XX", "1001", "angry", "M"),
    ),
    Case(
        "nemo",
        nemo_names,
        (36, 36, 36, 36),
        {"fearful": 36, "surprised": 36},
        set(NEMO_SPEAKERS),
        ("WR0_sadness_64", "WR0", "sad", "M"),
    ),
    Case(
        "urdu",
        urdu_names,
        (100, 100, 100, 100),
        {},
        {f"SM{n}" for n in (*range(1, 8), *range(17, 28))} | {f"SF{n}" for n in range(1, 12)},
        ("SM1_F10_A010", "SM1", "angry", "M"),
    ),
    Case(
        "savee",
        savee_names,
        (60, 60, 120, 60),
        {"disgust": 60, "fearful": 60, "surprised": 60},
        {"DC", "JE", "JK", "KL"},
        ("DC_sa01", "DC", "sad", "M"),
    ),
    Case(
        "tess",
        tess_names,
        (20, 20, 20, 20),
        {"disgust": 20, "fearful": 20, "surprised": 20},
        {"OAF", "YAF"},
        ("YAF_should_sad", "YAF", "sad", "F"),
    ),
    Case(
        "esd",
        esd_names,
        (60, 60, 60, 60),
        {"surprised": 60},
        {f"{speaker:04d}" for speaker in range(1, 21)},
        ("0011_000351", "0011", "angry", None),
    ),
    Case(
        "emovo",
        emovo_names,
        (84, 84, 84, 84),
        {"disgust": 84, "fearful": 84, "surprised": 84},
        {"f1", "f2", "f3", "m1", "m2", "m3"},
        ("gio-m2-b1", "m2", "happy", "M"),
    ),
    Case(
        "casia",
        casia_names,
        (200, 200, 200, 200),
        {"fearful": 200, "surprised": 200},
        {"liuchanhg", "wangzhe", "zhaoquanyin", "zhaozuoxiang"},
        ("zhaozuoxiang/sad/250", "zhaozuoxiang", "sad", "M"),
    ),
    Case(
        "shemo",
        shemo_names,
        (16, 16, 16, 16),
        {"fearful": 16, "surprised": 16},
        {f"{sex}0{number}" for sex in "FM" for number in range(1, 5)},
        ("F03S02", "F03", "sad", "F"),
    ),
    Case(
        "ased",
        ased_names,
        (56, 56, 56, 56),
        {"fearful": 56},
        {"01", "02", "03", "65"},
        ("a5-07-02-02-65", "65", "angry", "M"),
    ),
)


def build(case: Case, root: Path) -> Path:
    """The tree as it lies on real disks: other suffixes, deeper folders, macOS files, strange audio."""
    names = list(case.names())
    changed = [names[0].replace(".wav", ".WAV"), names[1].replace(".wav", ".flac"), f"copy/of/{names[2]}", *names[3:]]
    write_audio(root, changed)
    write(root / Path(names[3]).with_name(f"._{Path(names[3]).name}"), MACOS)
    write(root / "extra/recording 1.wav", WAV)
    write(root / "README.txt", "not audio")
    if case.corpus == "crema-d":
        write(root / "VideoDemographics.csv", crema_d_demographics())
    if case.corpus == "nemo":
        write(root / "data.tsv", nemo_table(names))
    return root


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Corpus]:
    return {c.corpus: load_corpus(c.corpus, build(c, tmp_path_factory.mktemp(c.corpus))) for c in CASES}


def only(corpus: Corpus) -> Utterance:
    (utterance,) = corpus.utterances
    return utterance


each_corpus = pytest.mark.parametrize("case", CASES, ids=str)


@each_corpus
def test_the_four_classes_have_the_counts_of_the_names(case: Case, loaded: dict[str, Corpus]) -> None:
    assert tuple(loaded[case.corpus].counts().values()) == case.counts


@pytest.mark.parametrize("name", ["ravdess", "urdu", "savee", "emovo", "casia"])
def test_a_tree_with_all_names_of_the_release_has_the_expected_counts(name: str, loaded: dict[str, Corpus]) -> None:
    assert loaded[name].counts() == CORPORA[name].counts


@each_corpus
def test_the_other_emotions_are_skipped_and_counted(case: Case, loaded: dict[str, Corpus]) -> None:
    assert loaded[case.corpus].report.skipped == case.skipped


@each_corpus
def test_the_speakers_are_those_of_the_names(case: Case, loaded: dict[str, Corpus]) -> None:
    corpus = loaded[case.corpus]
    assert set(corpus.speakers) == case.speakers
    assert corpus.info.speakers == {"crema-d": 91, "shemo": 87, "ased": 64}.get(case.corpus, len(case.speakers))


@each_corpus
def test_one_utterance_read_by_hand_has_its_speaker_label_and_sex(case: Case, loaded: dict[str, Corpus]) -> None:
    found = {(u.key, u.speaker, u.label, u.sex) for u in loaded[case.corpus].utterances}
    assert case.example in found
    assert all(u.session is None for u in loaded[case.corpus].utterances)


@each_corpus
def test_only_the_strange_file_is_reported(case: Case, loaded: dict[str, Corpus]) -> None:
    report = loaded[case.corpus].report
    assert report.unknown == ["extra/recording 1.wav"]
    assert (report.missing, report.unreadable, report.pointers, report.duplicates) == ([], {}, [], [])


@each_corpus
def test_the_example_layout_of_a_corpus_is_a_name_that_it_loads(case: Case, tmp_path: Path) -> None:
    write_audio(tmp_path, [CORPORA[case.corpus].layout])
    assert only(load_corpus(case.corpus, tmp_path)).label in EMOTIONS


@each_corpus
def test_a_copy_with_names_in_upper_case_is_the_same_corpus(case: Case, tmp_path: Path) -> None:
    names = list(case.names())[:40]
    write_audio(tmp_path / "a", names)
    write_audio(tmp_path / "b", [name.upper() for name in names])
    plain, upper = load_corpus(case.corpus, tmp_path / "a"), load_corpus(case.corpus, tmp_path / "b")
    assert upper.report.unknown == []
    assert upper.counts() == plain.counts()
    assert [(u.speaker, u.label, u.text) for u in upper.utterances] == [
        (u.speaker, u.label, u.text) for u in plain.utterances
    ]


@each_corpus
def test_files_that_lie_there_twice_are_used_once_and_reported(case: Case, tmp_path: Path) -> None:
    name = next(iter(case.names()))
    write_audio(tmp_path, [f"a/{name}", f"b/{name}"])
    corpus = load_corpus(case.corpus, tmp_path)
    assert only(corpus).path == tmp_path / "a" / name
    assert corpus.report.duplicates == [f"b/{name}"]


def test_emodb_has_five_men_and_five_women(loaded: dict[str, Corpus]) -> None:
    sexes = {u.speaker: u.sex for u in loaded["emodb"].utterances}
    assert {speaker for speaker, sex in sexes.items() if sex == "F"} == {"08", "09", "13", "14", "16"}


def test_ravdess_song_and_video_are_no_speech_recordings(tmp_path: Path) -> None:
    strange = ["Actor_01/01-01-05-01-01-01-01.wav", "Actor_01/03-02-05-01-01-01-01.wav"]
    write_audio(tmp_path, ["Actor_01/03-01-05-01-01-01-01.wav", *strange])
    corpus = load_corpus("ravdess", tmp_path)
    assert only(corpus).key == "03-01-05-01-01-01-01"
    assert corpus.report.unknown == strange


def test_crema_d_sex_is_unknown_without_the_demographics(tmp_path: Path) -> None:
    write_audio(tmp_path, ["1001_DFA_ANG_XX.wav"])
    assert only(load_corpus("crema-d", tmp_path)).sex is None


def test_crema_d_has_one_name_with_its_level_cut_short(tmp_path: Path) -> None:
    write_audio(tmp_path, ["1040_ITH_SAD_X.wav"])
    assert only(load_corpus("crema-d", tmp_path)).label == "sad"


def test_crema_d_wav_is_used_before_its_mp3_copy(tmp_path: Path) -> None:
    write_audio(tmp_path, ["AudioMP3/1001_DFA_ANG_XX.mp3", "AudioWAV/1001_DFA_ANG_XX.wav"])
    corpus = load_corpus("crema-d", tmp_path)
    assert only(corpus).path.suffix == ".wav"
    assert corpus.report.duplicates == ["AudioMP3/1001_DFA_ANG_XX.mp3"]


def test_nemo_labels_are_joined_by_name_whatever_the_order_of_the_table(tmp_path: Path) -> None:
    names = list(nemo_names())
    write_audio(tmp_path, names)
    write(tmp_path / "data.tsv", nemo_table(reversed(names)))
    words = {"angry": "anger", "happy": "happiness", "neutral": "neutral", "sad": "sadness"}
    for utterance in load_corpus("nemo", tmp_path).utterances:
        assert utterance.key.startswith(f"{utterance.speaker}_{words[utterance.label]}_")
        assert utterance.sex == NEMO_SPEAKERS[utterance.speaker][0].upper()


def test_nemo_without_a_table_takes_the_labels_from_the_names(tmp_path: Path) -> None:
    write_audio(tmp_path, ["samples/WR0_surprised_64.wav", "samples/WR0_happiness_2.ogg.wav", "WR0_sadness_1.wav"])
    corpus = load_corpus("nemo", tmp_path)
    assert [(u.key, u.speaker, u.label, u.sex) for u in corpus.utterances] == [("WR0_sadness_1", "WR0", "sad", None)]
    assert corpus.report.skipped == {"surprised": 1}
    assert corpus.report.unknown == ["samples/WR0_happiness_2.ogg.wav"]


@pytest.mark.parametrize(("said", "instead"), [("\tanger\t", "\tneutral\t"), ("\tWR0  \t", "\tKS0  \t")])
def test_nemo_table_that_contradicts_a_name_is_an_error(tmp_path: Path, said: str, instead: str) -> None:
    write_audio(tmp_path, ["WR0_anger_1.wav"])
    write(tmp_path / "data.tsv", nemo_table(["WR0_anger_1.wav"]).replace(said, instead))
    with pytest.raises(CorpusError, match=r"data\.tsv, line 2: WR0_anger_1 is said to be .* against its name"):
        load_corpus("nemo", tmp_path)


def test_nemo_rows_without_audio_are_missing_and_audio_without_a_row_is_unknown(tmp_path: Path) -> None:
    write_audio(tmp_path, ["WR0_anger_1.wav", "WR0_anger_3.wav"])
    write(tmp_path / "data.tsv", nemo_table(["WR0_anger_1.wav", "WR0_anger_2.wav", "WR0_fear_2.wav"]))
    report = load_corpus("nemo", tmp_path).report
    assert (report.missing, report.unknown) == (["WR0_anger_2"], ["WR0_anger_3.wav"])
    assert report.skipped == {"fearful": 1}


def test_nemo_table_without_its_columns_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "data.tsv", "file_id\temotion\nWR0_anger_1.wav\tanger\n")
    with pytest.raises(CorpusError, match=r"data\.tsv: no column speaker_id, gender; .* file_id, emotion"):
        load_corpus("nemo", tmp_path)


def test_urdu_has_neutral_utterances_of_only_six_speakers(loaded: dict[str, Corpus]) -> None:
    neutral = {u.speaker for u in loaded["urdu"].utterances if u.label == "neutral"}
    assert neutral == {"SF9", "SM20", "SM21", "SM22", "SM3", "SM5"}


def test_urdu_sex_is_the_letter_of_the_speaker(loaded: dict[str, Corpus]) -> None:
    assert all(u.sex == u.speaker[1] for u in loaded["urdu"].utterances)


def test_savee_is_the_same_corpus_in_folders_and_flat(loaded: dict[str, Corpus], tmp_path: Path) -> None:
    write_audio(tmp_path, savee_names(flat=True))
    flat = [(u.key, u.speaker, u.label) for u in load_corpus("savee", tmp_path).utterances]
    assert flat == [(u.key, u.speaker, u.label) for u in loaded["savee"].utterances]


def test_savee_sad_and_surprise_are_not_taken_for_the_letters_they_start_with(loaded: dict[str, Corpus]) -> None:
    counts = Counter(u.label for u in loaded["savee"].utterances if u.key.split("_")[1].startswith("s"))
    assert counts == {"sad": 60}


@pytest.mark.parametrize(
    ("name", "speaker", "label"),
    [
        ("OAF_Sad/OAF_base_sad.wav", "OAF", "sad"),
        ("OAF_neutral/OA_bite_neutral.wav", "OAF", "neutral"),
        ("yaf_angry/yaf_back_Angry.WAV", "YAF", "angry"),
    ],
)
def test_tess_names_are_read_as_the_copies_write_them(tmp_path: Path, name: str, speaker: str, label: str) -> None:
    write(tmp_path / name, WAV)
    utterance = only(load_corpus("tess", tmp_path))
    assert (utterance.speaker, utterance.label) == (speaker, label)


@pytest.mark.parametrize(
    "name", ["OAF_back_ps.wav", "OAF_back_Pleasant_surprise.wav", "YAF_bar_pleasant_surprised.wav"]
)
def test_tess_pleasant_surprise_is_surprise(tmp_path: Path, name: str) -> None:
    write_audio(tmp_path, [name])
    assert load_corpus("tess", tmp_path).report.skipped == {"surprised": 1}


def test_esd_is_the_same_corpus_with_the_folders_of_its_split(loaded: dict[str, Corpus], tmp_path: Path) -> None:
    write_audio(tmp_path, esd_names(split=True))
    split = [(u.key, u.speaker, u.label) for u in load_corpus("esd", tmp_path).utterances]
    assert split == [(u.key, u.speaker, u.label) for u in loaded["esd"].utterances]


def test_esd_audio_outside_a_folder_of_an_emotion_is_unknown(tmp_path: Path) -> None:
    write_audio(tmp_path, ["0011/Angry/0011_000351.wav", "0011/0011_000352.wav"])
    assert load_corpus("esd", tmp_path).report.unknown == ["0011/0011_000352.wav"]
