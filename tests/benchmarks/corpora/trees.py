"""Builders of fixture trees: the releases' names, folders and label files, with a millisecond of audio in each file."""

import csv
import hashlib
import io
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

DATA = Path(os.environ.get("DSNET_DATA", Path(__file__).parents[3] / ".." / "shared" / "data"))
WORDS = {"A": "angry", "H": "happy", "N": "neutral", "S": "sad"}
MACOS = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        \xff\xfe\x80"


def data_folder(name: str) -> Path:
    """A part of the speech data beside the project; skips the test where it is not there."""
    if not (DATA / name).is_dir():
        pytest.skip(f"no speech data in {DATA}; set DSNET_DATA")
    return DATA / name


def meta(name: str) -> list[dict[str, str]]:
    with (data_folder("meta") / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def encoded(format: str, samples: int = 16) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, np.zeros(samples, dtype=np.int16), 16_000, format=format)
    return stream.getvalue()


WAV = encoded("WAV")
FLAC = encoded("FLAC")


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_audio(root: Path, names: Iterable[str]) -> None:
    for name in names:
        write(root / name, FLAC if name.endswith(".flac") else recording(name))


def recording(name: str) -> bytes:
    """A WAV whose 16 samples are of its name, so that no two are the same sound."""
    return WAV[:-32] + hashlib.sha256(os.fsencode(name)).digest()


# IEMOCAP

IEMOCAP_OTHERS = {"fru": 1849, "xxx": 2507, "sur": 107, "fea": 40, "oth": 3, "dis": 2}  # 10,039 with the 5,531


def iemocap_tree(root: Path) -> Path:
    """All 10,039 utterances: the 5,531 true names, and invented turn numbers for the other emotions."""
    codes = {"A": ["ang"], "H": ["exc", "exc", "hap"], "N": ["neu"], "S": ["sad"]}
    dialogs: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for number, row in enumerate(meta("iemocap_4class.tsv")):
        choice = codes[row["label"]]
        dialogs[row["filename"].rpartition("_")[0]].append((row["filename"], choice[number % len(choice)]))
    others = [code for code, count in IEMOCAP_OTHERS.items() for _ in range(count)]
    names = sorted(dialogs)
    for number, code in enumerate(others):
        dialog, turn = names[number % len(names)], 500 + number // len(names)
        dialogs[dialog].append((f"{dialog}_{'FM'[number % 2]}{turn}", code))
    for dialog, turns in dialogs.items():
        session = root / f"Session{dialog[4]}"
        for name, _ in turns:
            write(session / "sentences/wav" / dialog / f"{name}.wav", recording(name))
        write(session / "dialog/wav" / f"{dialog}.wav", WAV)
        labels = session / "dialog/EmoEvaluation"
        write(labels / f"{dialog}.txt", iemocap_labels(turns).encode("latin-1"))
        write(labels / f"._{dialog}.txt", MACOS)
        # Decoys: single raters' files, the same utterances with other emotions.
        decoy = iemocap_labels((name, "decoy") for name, _ in turns[:2])
        write(labels / "Categorical" / f"{dialog}_e2_cat.txt", decoy)
        write(labels / "Attribute" / f"{dialog}_e3_atr.txt", decoy)
        write(labels / "Self-evaluation" / f"{dialog}_f1_cat.txt", decoy)
        write(labels / f"{dialog}.anvil", decoy)
    write(root / "Session1/sentences/wav/Ses01F_impro01/._Ses01F_impro01_F000.wav", MACOS)
    return root


def iemocap_labels(turns: Iterable[tuple[str, str]]) -> str:
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for number, (name, code) in enumerate(turns):
        start = 6.2901 + 4 * number
        lines += [
            f"[{start:.4f} - {start + 1.9456:.4f}]\t{name}\t{code}\t[2.5000, 2.5000, 2.5000]",
            "C-E2:\tNeutral;\t()",
            "C-E3:\tAnger; Frustration;\t(fed up, d\xe9j\xe0 vu)",
            "C-F1:\tSadness;\t()",
            "A-E1:\tval 3; act 2; dom  2;\t([tense])",
            "A-F1:\tval 2; act 3; dom  ;\t()",
            "",
        ]
    return "\n".join(lines) + "\n"


# MSP-IMPROV


def msp_improv_tree(root: Path, label_file: str = "Evalution.txt") -> Path:
    """All 8,438 utterances: the 7,798 true names, and invented turn numbers for those without a label of the four."""
    labelled = [(row["filename"], row["label"]) for row in meta("msp_improv_4class.tsv")]
    for number in range(8438 - len(labelled)):
        speaker = f"{'FM'[number % 2]}0{number % 6 + 1}"
        name = f"MSP-IMPROV-S{number % 20 + 1:02d}{'AHNS'[number % 4]}-{speaker}-S-FM{60 + number // 60}"
        labelled.append((name, "XO"[number % 5 == 0]))
    for name, _ in labelled:
        sentence, speaker, kind = name.split("-")[2:5]
        write(root / "Audio" / f"session{speaker[-1]}" / sentence / kind / f"{name}.wav", recording(name))
    write(root / label_file, msp_improv_labels(labelled))
    write(root / f"._{label_file}", MACOS)
    return root


def msp_improv_labels(labelled: Iterable[tuple[str, str]]) -> str:
    lines = []
    for number, (name, code) in enumerate(labelled):
        dominance = "NaN" if number % 7 == 0 else "3.000000"
        lines += [
            f"{name.replace('MSP', 'UTD', 1)}.avi; {code}; A:3.000000; V:3.500000; D:{dominance} ; N:4.200000;",
            "WORKER00000012; Neutral; A:3.000000; V:4.000000; D:3.000000; N:5.000000;",
            "WORKER00000345; Other (bored); A:3.000000; V:3.000000; D:NaN; N:4.000000;",
            "",
        ]
    return "\n".join(lines) + "\n"


# The corpora whose names are their labels


def emodb_names() -> Iterator[str]:
    """Every speaker, sentence and emotion once; the release has 535 names of this form, not the whole grid."""
    for speaker in ("03", "08", "09", "10", "11", "12", "13", "14", "15", "16"):
        for sentence in ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10"):
            for emotion in "WLEAFTN":
                yield f"wav/{speaker}{sentence}{emotion}a.wav"


def ravdess_names() -> Iterator[str]:
    """All 1,440."""
    for actor in range(1, 25):
        for emotion in range(1, 9):
            for intensity in (1,) if emotion == 1 else (1, 2):
                for statement in (1, 2):
                    for repetition in (1, 2):
                        code = f"{emotion:02d}-{intensity:02d}-{statement:02d}-{repetition:02d}-{actor:02d}"
                        yield f"Actor_{actor:02d}/03-01-{code}.wav"


def crema_d_names(actors: int = 10) -> Iterator[str]:
    """The first actors' whole grid; the release has 91 actors, and 20 names of the grid are not in it."""
    sentences = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
    for actor in range(1001, 1001 + actors):
        for sentence in sentences:
            for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD"):
                for level in ("LO", "MD", "HI") if sentence == "IEO" and emotion != "NEU" else ("XX",):
                    yield f"AudioWAV/{actor}_{sentence}_{emotion}_{level}.wav"


def crema_d_demographics() -> str:
    rows = [
        f'{actor},{20 + actor % 50},{"Female" if actor % 2 == 0 else "Male"},Caucasian,"Not Hispanic"'
        for actor in range(1001, 1092)
    ]
    return "\n".join(["ActorID,Age,Sex,Race,Ethnicity", *rows]) + "\n"


NEMO_SPEAKERS = {
    "EB0": "female",
    "IC0": "female",
    "KD0": "female",
    "KS0": "male",
    "MK0": "female",
    "MP0": "male",
    "SM0": "male",
    "TP0": "male",
    "WR0": "male",
}


def nemo_names() -> Iterator[str]:
    """Four of each speaker's sentences in each of the six emotions; the release has 90."""
    for speaker in NEMO_SPEAKERS:
        for emotion in ("anger", "fear", "happiness", "neutral", "sadness", "surprised"):
            for sentence in (1, 10, 64, 90):
                yield f"samples/{speaker}_{emotion}_{sentence}.wav"


def nemo_table(names: Iterable[str]) -> str:
    """``data.tsv``, with the release's spaces around the speakers."""
    lines = ["file_id\temotion\traw_text\tnormalized_text\tspeaker_id\tgender\tage"]
    for name in names:
        file = name.rpartition("/")[2]
        speaker, emotion, _ = file.split("_")
        text = "Lubi\u0119 czyta\u0107 przed snem."
        lines.append(f"{file}\t{emotion}\t{text}\t{text.lower()}\t{speaker}  \t{NEMO_SPEAKERS[speaker]}\t27")
    return "\n".join(lines) + "\n"


# How many utterances each speaker has, in the order in which the release numbers them.
URDU_SPEAKERS = {
    "Angry": "SM1 22, SM2 28, SM3 2, SM4 48",
    "Happy": "SF1 12, SF2 2, SF3 2, SF4 4, SF5 4, SF6 14, SF7 6, SF8 2, SM17 2, SM18 2, SM19 2, SM3 2, SM5 8, "
    "SM6 10, SM7 28",
    "Neutral": "SF9 4, SM20 10, SM21 4, SM22 2, SM3 8, SM5 72",
    "Sad": "SF10 2, SF11 4, SM23 6, SM24 38, SM25 40, SM26 2, SM27 4, SM6 4",
}


def urdu_names() -> Iterator[str]:
    """All 400."""
    for folder, speakers in URDU_SPEAKERS.items():
        number = 0
        for entry in speakers.split(", "):
            speaker, count = entry.split()
            for file in range(1, int(count) + 1):
                number += 1
                yield f"{folder}/{speaker}_F{file}_{folder[0]}0{number}.wav"


def savee_names(flat: bool = False) -> Iterator[str]:
    """All 480."""
    for speaker in ("DC", "JE", "JK", "KL"):
        for emotion in ("a", "d", "f", "h", "n", "sa", "su"):
            for number in range(1, 31 if emotion == "n" else 16):
                yield f"ALL/{speaker}_{emotion}{number:02d}.wav" if flat else f"{speaker}/{emotion}{number:02d}.wav"


def tess_names() -> Iterator[str]:
    """Ten of the 200 words, with the release's one name that is cut short."""
    for speaker in ("OAF", "YAF"):
        for word in ("back", "bar", "base", "bath", "bean", "beg", "bite", "boat", "should", "youth"):
            for emotion in ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad"):
                short = (speaker, word, emotion) == ("OAF", "bite", "neutral")
                yield f"{speaker}_{emotion}/{'OA' if short else speaker}_{word}_{emotion}.wav"


def esd_names(split: bool = False) -> Iterator[str]:
    """Three of the 350 sentences for every speaker and emotion, numbered as in the release."""
    parts = ("evaluation", "test", "train")
    for speaker in range(1, 21):
        for position, emotion in enumerate(("Neutral", "Angry", "Happy", "Sad", "Surprise")):
            for sentence in range(3):
                folder = f"{speaker:04d}/{emotion}" + (f"/{parts[sentence]}" if split else "")
                yield f"{folder}/{speaker:04d}_{350 * position + sentence + 1:06d}.wav"


def emovo_names() -> Iterator[str]:
    """All 588."""
    sentences = (
        [f"b{n}" for n in range(1, 4)] + ["d1", "d2"] + [f"l{n}" for n in range(1, 5)] + [f"n{n}" for n in range(1, 6)]
    )
    for speaker in ("f1", "f2", "f3", "m1", "m2", "m3"):
        for emotion in ("gio", "neu", "rab", "tri", "dis", "pau", "sor"):
            for sentence in sentences:
                yield f"{speaker}/{emotion}-{speaker}-{sentence}.wav"


def casia_names() -> Iterator[str]:
    """All 1,200."""
    for speaker in ("liuchanhg", "wangzhe", "zhaoquanyin", "ZhaoZuoxiang"):
        for emotion in ("angry", "fear", "happy", "neutral", "sad", "surprise"):
            for sentence in range(201, 251):
                yield f"{speaker}/{emotion}/{sentence}.wav"


def shemo_names() -> Iterator[str]:
    """Two of each emotion for the first four women and men; the release has 87 speakers, most without some."""
    for sex, folder in (("F", "female"), ("M", "male")):
        for speaker in range(1, 5):
            for emotion in "AFHNSW":
                for number in ("01", "02"):
                    yield f"{folder}/{sex}{speaker:02d}{emotion}{number}.wav"


def ased_names() -> Iterator[str]:
    """Every sentence and take of four speakers; the release has 64, many of them with a few."""
    for folder, letter in (
        ("01Neutral", "n1"),
        ("02Fearful", "f2"),
        ("03Happy", "h3"),
        ("04Sad", "s4"),
        ("05Angry", "a5"),
    ):
        for sentence in range(1, 8):
            for take in (1, 2):
                for sex, speaker in (("01", "01"), ("02", "02"), ("01", "03"), ("02", "65")):
                    yield f"{folder}/{letter}-{sentence:02d}-{take:02d}-{sex}-{speaker}.wav"
