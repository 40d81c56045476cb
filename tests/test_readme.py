"""Every command of the README and of docs/use.md, run as it stands there, in a fresh folder with small corpora where it expects them."""

import configparser
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.backbones.tiny_speech_models import save_tiny
from tests.benchmarks.corpora.trees import iemocap_labels, msp_improv_labels, write
from tests.warm_dsnet import dsnet

PROJECT = Path(__file__).parent.parent
PAGES = [PROJECT / "README.md", PROJECT / "docs" / "use.md"]
README, USE = (path.read_text(encoding="utf-8") for path in PAGES)

# What a command gets besides, so that its work is done in seconds; what it is stays as it is.
SMALLER = {
    "dsnet train --backbone hf/": "--folds 0 --epochs 1 --protocol groups-3",
    "dsnet train": "--folds 0 --epochs 1 --max-frames 32",
    "dsnet benchmark quick": "--time-budget 1s",
    "dsnet benchmark frozen": "--set protocol=groups-3 --set folds=0 --set seeds=0 --set methods=dsnet-enrolled --set epochs=1 --set max_frames=50",
    "dsnet benchmark scratch": "--set folds=0 --set seeds=0 --set methods=subtraction --set epochs=1 --set max_frames=32",
    "dsnet benchmark enrolled": "--set protocol=groups-3 --set folds=0 --set seeds=0 --set epochs=1 --set max_frames=50",
    "dsnet benchmark cross": "--set folds=0 --set seeds=0 --set methods=baseline --set epochs=1 --set max_frames=32",
    "dsnet complexity": "--max-frames 32",
    "dsnet speed": "--max-frames 32 --batch-size 4 --rounds 1",
    "dsnet demo": "--help",  # a server does not end; it is tested in tests/benchmarks/deploy/test_demo_page.py
}


# What a block of commands leaves behind, by its first.
LEFT = {
    "dsnet corpora": [
        "runs/ravdess/report/report.html",
        "runs/ravdess/ravdess/cnn/dsnet/seed-0/fold-00/model.onnx",
    ],
    "dsnet benchmark frozen": ["runs/frozen/report/report.html"],
    "dsnet benchmark enrolled": ["runs/enrolled/summary.json"],
    "dsnet train --corpus ravdess": [
        "runs/sentence/ravdess/cnn/dsnet-enrolled/seed-0/fold-00/speakers/anna.safetensors",
        "runs/sentence/ravdess/cnn/dsnet-enrolled/seed-0/fold-00/model.onnx",
    ],
    "dsnet train --backbone hf/whisper-base": ["runs/ravdess/summary.json"],
    "dsnet corpora manifest --root my.csv": ["runs/manifest/summary.json"],
    "dsnet benchmark quick --jobs 2": ["runs/cross/report/report.html"],
}


def console_blocks():
    """The commands of each console block, without prompt and remark."""
    blocks = re.findall(r"```console\n(.*?)```", README + USE, re.DOTALL)
    lines = [[line for line in block.splitlines() if line.startswith("$ ")] for block in blocks]
    return [[re.split(r"\s+#", line[2:])[0].strip() for line in block] for block in lines]


BLOCKS = [block for block in console_blocks() if block[0].startswith("dsnet ")]


def speech(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 6400), 16_000)
    return path


def fill(home, work):
    """A RAVDESS, a nEMO, an EMOVO, an ASED, an IEMOCAP and an MSP-IMPROV of a few utterances, a manifest and a recording, where the README has them."""
    for actor, emotion in product(("01", "02", "03"), ("01", "03", "04", "05")):
        speech(home / f"data/ravdess/Actor_{actor}/03-01-{emotion}-01-01-01-{actor}.wav")
    for speaker, emotion in product(("AB0", "CD0", "EF0"), ("anger", "happiness", "neutral", "sadness")):
        speech(home / f"data/nemo/samples/{speaker}_{emotion}_1.wav")
    for speaker, emotion in product(("f1", "f2", "m1"), ("rab", "gio", "neu", "tri")):
        speech(home / f"data/emovo/{speaker}/{emotion}-{speaker}-b1.wav")
    for speaker, emotion in product((1, 2, 3), ("01Neutral/n1", "03Happy/h1", "04Sad/s1", "05Angry/a1")):
        speech(home / f"data/ased/{emotion}-01-01-01-0{speaker}.wav")
    for session in (1, 2):
        dialog = f"Ses0{session}F_impro01"
        codes = ("neu", "neu", "hap", "sad", "ang")
        turns = [(f"{dialog}_{sex}{i:03d}", code) for sex in "FM" for i, code in enumerate(codes)]
        for name, _ in turns:
            speech(home / f"data/iemocap/Session{session}/sentences/wav/{dialog}/{name}.wav")
        labels = home / f"data/iemocap/Session{session}/dialog/EmoEvaluation/{dialog}.txt"
        write(labels, iemocap_labels(turns).encode("latin-1"))
    labelled = [
        (f"MSP-IMPROV-S01{label}-{sex}0{session}-S-FM{i:02d}", label)
        for session, sex in product((1, 2), "FM")
        for i, label in enumerate("NNAHS", 1)
    ]
    for name, _ in labelled:
        speech(home / f"data/msp-improv/session{name.split('-')[3][-1]}/S01A/S/{name}.wav")
    write(home / "data/msp-improv/Evalution.txt", msp_improv_labels(labelled))
    rows = [
        f"{speech(work / f'own/{speaker}-{label}.wav').relative_to(work)},{speaker},{label}"
        for speaker, label in product("abc", ("angry", "happy", "neutral", "sad"))
    ]
    save_tiny(work / "whisper-base", "whisper")
    shutil.copytree(PROJECT / "benchmarks/results", work / "benchmarks/results")
    write(work / "my.csv", "\n".join(["path,speaker,label", *rows]))
    speech(work / "hello.wav")
    speech(work / "neutral.wav")


@pytest.mark.parametrize("commands", BLOCKS, ids=lambda commands: commands[0])
def test_every_dsnet_command_runs_in_a_fresh_folder(commands, tmp_path):
    home, work = tmp_path / "home", tmp_path / "work"
    work.mkdir(parents=True)
    fill(home, work)
    for command in commands:
        added = next((more for start, more in SMALLER.items() if command.startswith(start)), "")
        done = dsnet(f"{command} {added}", work, home)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr[-2000:]}"
    block = max((start for start in LEFT if commands[0].startswith(start)), key=len)
    assert all((work / file).is_file() for file in LEFT[block])


def test_the_command_is_installed():
    done = subprocess.run([Path(sys.executable).parent / "dsnet", "--help"], check=True, capture_output=True, text=True)
    assert "benchmark" in done.stdout


def test_no_dsnet_command_of_the_readme_is_passed_over():
    commands = [command for block in console_blocks() for command in block if "dsnet " in command]
    assert [command for block in BLOCKS for command in block] == commands
    assert len(commands) > 12


def test_the_make_targets_and_the_extras_that_are_named_exist():
    makefile = (PROJECT / "Makefile").read_text()
    targets = re.findall(
        r"`?make (\w+)`?", " ".join(command for block in console_blocks() for command in block)
    ) + re.findall(r"`make (\w+)`", README)
    assert {"demo", "test"} <= set(targets)
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(PROJECT / "setup.cfg")
    named = re.findall(r"extra '?`?(\w+)", README + USE) + re.findall(r'-e "\.\[(\w+)\]"', README)
    assert named
    assert all(extra in setup["options.extras_require"] for extra in named)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+?)\)", README))))
def test_a_link_within_the_project_leads_somewhere(target):
    if not target.startswith("http"):
        assert (PROJECT / target).exists()
