"""Records of finished cells with known numbers, as ``run_cell`` and the suite write them."""

import hashlib
import json

import numpy as np
import torch
from sklearn.metrics import recall_score

from benchmarks.cost.speed_record import SpeedRecord
from benchmarks.grid import read_record
from benchmarks.output.files import write_tensors
from benchmarks.output.typed_json import from_json
from benchmarks.report.cells import Cell

SETTINGS = {
    "encoder": {"name": "cnn", "options": {}},
    "epochs": 3,
    "batch_size": 32,
    "learning_rate": 1e-3,
    "patience": 20,
    "max_frames": 300,
    "precision": "fp32",
    "missing_neutral": "error",
    "enrol": 0,
    "seed": 0,
    "compile": False,
}
CONFIG = {"strategy": "random", "references": 1, "alpha": 1.0, "beta": 1.0, "gamma": 1.0, "temperature": 1.0}
LOSSES = ("task", "orthogonality", "reconstruction", "calibration")
VERSIONS = {"dsnet_plugin": "0.1.0", "python": "3.12.3", "torch": "2.11.0"}
ENVIRONMENT = {"versions": VERSIONS, "device": "CPU, x86_64", "threads": 2, "revision": "f94ceb1"}


class Corpus:
    """Speakers ``<name>0`` and so on, women and men in turn, each with the same number of utterances of each class."""

    def __init__(self, name, speakers=5, each=5, counts=None):
        self.name = name
        truths = ["".join(str(label) * each for label in range(4))] * speakers if counts is None else counts
        self.truth = {f"{name}{i}": truth for i, truth in enumerate(truths)}
        self.sex = {speaker: "FM"[i % 2] for i, speaker in enumerate(self.truth)}

    @property
    def speakers(self):
        return sorted(self.truth)

    @property
    def identity(self):
        digest = hashlib.sha256(json.dumps(self.truth).encode()).hexdigest()[:16]
        utterances = sum(map(len, self.truth.values()))
        return {"name": self.name, "corpus": "manifest", "utterances": utterances, "sha256": digest}

    def said(self, speakers, hits, rng):
        """A test's record in which each utterance is hit at the given rate, and else called any class."""
        found = {}
        for speaker in speakers:
            truth = self.truth[speaker]
            guesses = rng.integers(0, 4, len(truth))
            right = rng.random(len(truth)) < hits
            predicted = "".join(t if r else str(g) for t, r, g in zip(truth, right, guesses, strict=True))
            found[speaker] = {"sex": self.sex[speaker], "truth": truth, "predicted": predicted}
        return {"corpus": self.identity, "uar": uar(found), "speakers": found}


def cell(
    method,
    corpus,
    fold=0,
    seed=0,
    hits=0.5,
    targets=(),
    label=None,
    config=None,
    adapts=False,
    encoder="cnn",
    **settings,
):
    """The line of a cell; ``targets`` are other corpora, ``hits`` the rate at which it is right."""
    settings["encoder"] = {"name": encoder, "options": {}}
    label = label or method
    rng = np.random.default_rng([fold, seed, *map(ord, method + label + corpus.name)])
    speakers = corpus.speakers
    chosen = {**SETTINGS, **settings, "seed": seed}
    ours = method.startswith("dsnet")
    curves = [curve(epoch, chosen["epochs"], ours, rng) for epoch in range(chosen["epochs"])]
    best = min(2, len(curves))
    return {
        "version": 3,
        "folder": f"{corpus.name}/{encoder}/{label}/seed-{seed}/fold-{fold:02d}".replace(" ", "_"),
        "label": label,
        "adapts": adapts,
        "identity": {
            "corpus": corpus.identity,
            "method": method,
            "config": {**(CONFIG if ours else {}), **(config or {})},
            "protocol": "loso",
            "fold": fold,
            "settings": chosen,
        },
        "story": {
            "test_speaker": speakers[fold],
            "validation_speaker": speakers[(fold + 1) % len(speakers)],
            "utterances": {"train": 40, "validation": 20, "test": 20},
            "references": {},
            "best_epoch": best,
            "validation_uar": curves[best - 1]["validation_uar"],
            "seconds": 36.0,
            "curves": curves,
        },
        "tests": {
            corpus.name: corpus.said([speakers[fold]], hits, rng),
            **{target.name: target.said(target.speakers, hits - 0.1, rng) for target in targets},
        },
        "probes": probes(ours, rng),
        "environment": ENVIRONMENT,
    }


def uar(speakers):
    """The UAR in percent of what is said of speakers' utterances."""
    truth, predicted = (
        [digit for said in speakers.values() for digit in said[part]] for part in ("truth", "predicted")
    )
    return 100 * recall_score(truth, predicted, labels=sorted(set(truth)), average="macro", zero_division=0)


def read(line, folder=None):
    """The cell that a line is of."""
    return Cell(read_record(line, "a line"), folder)


def curve(epoch, epochs, ours, rng):
    """An epoch of a training that goes well."""
    names = LOSSES if ours else LOSSES[:1]
    fall = np.exp(-4 * epoch / epochs)
    train = {
        name: float(scale * (fall + 0.1 * rng.random()))
        for name, scale in zip(names, (1.4, 0.03, 0.2, 0.004), strict=False)
    }
    validation = {name: value * 1.2 for name, value in train.items()}
    return {
        "epoch": epoch + 1,
        "train": {"total": sum(train.values()), **train},
        "validation": {"total": sum(validation.values()), **validation},
        "validation_uar": float(60 - 30 * fall + 5 * rng.random()),
        "gradient_norms": {name: float(value * 3) for name, value in train.items()},
        "learning_rate": 1e-3,
    }


def probes(ours, rng):
    """Scores of the probes; h holds both, z_er the emotion, z_ei the speaker."""
    scores = {"h": (55, 60)} | ({"z_er": (57, 35), "z_ei": (34, 62)} if ours else {})
    found = {
        name: {
            "emotion": emotion + float(rng.normal()),
            "emotion_chance": 25.0,
            "speaker": speaker + float(rng.normal()),
            "speaker_chance": 12.5,
        }
        for name, (emotion, speaker) in scores.items()
    }
    return {"spaces": found, "hsic": 0.04 + 0.01 * float(rng.random()) if ours else None, "error": None}


def speed(method, encoder="cnn", **changed):
    """A line of speed."""
    return {
        "method": method,
        "encoder": encoder,
        "config": {},
        "max_frames": SETTINGS["max_frames"],
        "batch_size": SETTINGS["batch_size"],
        "precision": SETTINGS["precision"],
        "compile": False,
        "training": {
            "samples_per_second": 1234.0,
            "times_baseline": 1.2,
            "outside_share": 0.1,
            "statistics_steps": 2.5,
            "matmul_share": 0.6,
            "peak_bytes": 3 * 2**30,
        },
        "inference": {"latency_ms": 2.5, "samples_per_second": 4321.0, "times_baseline": 1.0, "peak_bytes": 2**29},
        "environment": {**ENVIRONMENT, "device": "NVIDIA H200"},
        **changed,
    }


def read_speed(*arguments, **changed):
    """A measurement, as it is read from its line."""
    return from_json(SpeedRecord, speed(*arguments, **changed), "a line", "")


def write_run(folder, cells, speeds=()):
    """A run's folder with the lines of cells and of speed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cells.jsonl").write_text("".join(json.dumps(own) + "\n" for own in cells))
    if speeds:
        (folder / "speed.jsonl").write_text("".join(json.dumps(own) + "\n" for own in speeds))
    return folder


def write_spaces(folder, line, corpus):
    """The spaces of a cell's validation and test speakers in its folder: clusters by emotion, speaker, or both."""
    rng = np.random.default_rng(line["identity"]["fold"])
    sides = {"validation": line["story"]["validation_speaker"], "test": line["story"]["test_speaker"]}
    emotion = [int(digit) for speaker in sides.values() for digit in corpus.truth[speaker]]
    speaker = [name for name in sides.values() for _ in corpus.truth[name]]
    split = [side for side, name in sides.items() for _ in corpus.truth[name]]
    by_emotion = rng.normal(size=(4, 16))[emotion]
    by_speaker = rng.normal(size=(2, 16))[[int(side == "test") for side in split]]
    noise = rng.normal(size=(len(emotion), 16))
    spaces = {"h": by_emotion + by_speaker + noise}
    if line["identity"]["method"].startswith("dsnet"):
        spaces |= {"z_er": 2 * by_emotion + noise, "z_ei": 2 * by_speaker + noise}
    tensors = {name: torch.tensor(values, dtype=torch.float32) for name, values in spaces.items()}
    record = {"kind": "spaces", "emotion": emotion, "speaker": speaker, "split": split}
    write_tensors(folder / line["folder"] / "spaces.safetensors", tensors, record)
