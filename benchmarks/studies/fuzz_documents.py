"""Readers of what this project writes and of what people write for it: specifications, checkpoints, lines of cells."""

import json
from pathlib import Path
from typing import Any

import torch
import yaml

from backbones import create_encoder
from benchmarks.corpora import EMOTIONS
from benchmarks.data import PAPERS_CNN
from benchmarks.deploy.recogniser import Recogniser
from benchmarks.grid.record import VERSION
from benchmarks.grid.spec import read_spec
from benchmarks.methods import create_method
from benchmarks.output.files import read_tensors, write_tensors
from benchmarks.report.cells import read_runs
from benchmarks.studies.damage import Rng, Wrong, damage, distort
from benchmarks.training.checkpoint import ModelRecord, save_model

SPECIFICATION: dict[str, Any] = {
    "title": "all that a specification may have",
    "methods": ["baseline", {"label": "cold", "method": "dsnet", "config": {"temperature": 0.1, "references": 2}}],
    "corpora": {
        "synthetic": {"options": {"speakers": 4, "utterances": 8, "correlation": 0.5, "seconds": 0.5, "seed": 1}},
        "mine": {"corpus": "manifest", "root": "/nowhere/m.csv", "map": {"gioia": "happy"}},
    },
    "encoders": ["cnn", {"name": "hf/x", "options": {"freeze": "all"}}],
    "encoder_options": {"pooling": "mean"},
    "protocol": "loso",
    "folds": [0, 1],
    "seeds": [0, 1],
    "cross": True,
    "speed": False,
    "settings": {"epochs": 3, "batch_size": 8, "learning_rate": 0.001, "precision": "fp32", "compile": False},
    "grids": [{}, {"folds": "all", "settings": {"epochs": 4}}],
}


def specification(rng: Rng, folder: Path) -> None:
    """A YAML file, and a change of the command line."""
    document = SPECIFICATION
    for _ in range(rng.integers(0, 3)):
        document = distort(document, rng)
    content = yaml.safe_dump(document, allow_unicode=True).encode(errors="surrogatepass")
    path = folder / "s.yaml"
    path.write_bytes(damage(content, rng) if rng.integers(2) else content)
    changes = distort({"epochs": 2, "folds": "0"}, rng) if not rng.integers(3) else {}
    for grid in read_spec(str(path), {}, changes if isinstance(changes, dict) else {}):
        words = [
            grid.protocol,
            grid.folds,
            *(encoder.name for encoder in grid.encoders),
            *(method.label for method in grid.methods),
        ]
        if not all(isinstance(word, str) for word in words) or not grid.methods or not grid.corpora:
            raise Wrong(f"a grid of {words!r:.200}")
        if not all(type(seed) is int and 0 <= seed < 2**31 for seed in grid.seeds):
            raise Wrong(f"seeds {grid.seeds!r:.200}")


def checkpoint(rng: Rng, folder: Path) -> None:
    """A trained model, whose record or whose bytes are not what they were."""
    whole, path = folder / "whole.safetensors", folder / "c.safetensors"
    if not whole.exists():
        torch.manual_seed(0)
        model = create_method("baseline", create_encoder("cnn"), len(EMOTIONS))
        save_model(whole, model, ModelRecord("baseline", model.config(), PAPERS_CNN, list(EMOTIONS), 32))
    if rng.integers(2):
        tensors, record = read_tensors(whole)
        name = sorted(tensors)[int(rng.integers(len(tensors)))]
        kind = int(rng.integers(5))
        if kind == 0:
            tensors[name] = tensors[name].flatten()[:-1].clone()
        elif kind == 1:
            tensors[name] = tensors[name] * torch.nan
        elif kind == 2:
            del tensors[name]
        else:
            record = distort(record, rng)
        write_tensors(path, tensors, record)
    else:
        path.write_bytes(damage(whole.read_bytes(), rng))
    probabilities = Recogniser(path).probabilities(torch.linspace(-0.1, 0.1, 8_000))
    if not probabilities or abs(sum(probabilities.values()) - 1) > 1e-3:
        raise Wrong(f"probabilities {probabilities!r:.200}")


def line(rng: Rng, folder: Path) -> None:
    """The lines of a run's finished cells."""
    records = [_record(fold) for fold in range(int(rng.integers(1, 4)))]
    chosen = int(rng.integers(len(records)))
    for _ in range(rng.integers(0, 3)):
        records[chosen] = distort(records[chosen], rng)
    content = "".join(json.dumps(record) + "\n" for record in records).encode()
    path = folder / "cells.jsonl"
    path.write_bytes(damage(content, rng) if rng.integers(2) else content)
    for cell in read_runs([path]).cells:
        uar = cell.record.own_test.uar
        if not 0 <= uar <= 100 or not cell.label.isprintable():
            raise Wrong(f"a UAR of {uar} of {cell.label!r:.200}")


def _record(fold: int) -> dict[str, Any]:
    """A finished cell as its line holds it."""
    corpus = {"name": "mine", "corpus": "manifest", "utterances": 12, "sha256": "0123456789abcdef"}
    settings: dict[str, Any] = {
        "encoder": {"name": "cnn", "options": {}},
        "enrol": 0,
        "epochs": 1,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "patience": 20,
        "max_frames": 32,
    }
    settings |= {"precision": "fp32", "missing_neutral": "error", "seed": 0, "compile": False}
    identity = {"corpus": corpus, "method": "baseline", "config": {}, "protocol": "loso", "fold": fold}
    losses = {"task": 1.25, "total": 1.25}
    epoch = {"epoch": 1, "train": losses, "validation": losses, "validation_uar": 50.0}
    story = {
        "test_speaker": "ann",
        "validation_speaker": "bob",
        "references": {},
        "best_epoch": 1,
        "validation_uar": 50.0,
    }
    story |= {"utterances": {"train": 4, "validation": 4, "test": 4}, "seconds": 1.5}
    spoken = {"ann": {"sex": "F", "truth": "0123", "predicted": "0122"}}
    return {
        "version": VERSION,
        "folder": f"mine/cnn/baseline/seed-0/fold-{fold:02d}",
        "label": "baseline",
        "adapts": False,
        "identity": {**identity, "settings": settings},
        "story": {**story, "curves": [{**epoch, "gradient_norms": {"task": 0.5}, "learning_rate": 1e-3}]},
        "tests": {"mine": {"corpus": corpus, "uar": 75.0, "speakers": spoken}},
        "probes": {"spaces": {}, "hsic": None, "error": "too few utterances"},
        "environment": {"versions": {"torch": "2"}, "device": "CPU", "threads": 1, "revision": None},
    }
