"""One cell of a study: a method trained on a fold, tested on its own corpus and on others; the record of it on disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from benchmarks.data import Fold, Side, SpeechData
from benchmarks.grid.corpus_data import CorpusData
from benchmarks.grid.record import (
    PREDICTIONS_NAME,
    RESULT_NAME,
    SPACES_NAME,
    TRAINING_SPACES_NAME,
    by_speaker,
    identify,
)
from benchmarks.methods import Method
from benchmarks.output.environment import describe
from benchmarks.output.files import read_json, write_json, write_tensors
from benchmarks.scores.probing import PROBED_UTTERANCES, probe
from benchmarks.training import MODEL_NAME, STATE_NAME, TrainingSettings, check_same, derive_seed, load_model
from benchmarks.training.fit import fit, make_method
from benchmarks.training.inference import predict, spaces
from dsnet_plugin import DSNetError


def run_cell(
    name: str,
    config: dict[str, Any],
    own: CorpusData,
    protocol: str,
    fold: Fold,
    settings: TrainingSettings,
    folder: Path,
    accelerator: Accelerator,
    targets: Mapping[str, CorpusData] | None = None,
    label: str = "",
) -> dict[str, Any]:
    """Trains a method on one fold and tests it, or returns the record that is there already.

    A record that lacks one of the ``targets`` gets it from the model on disk, without another training.

    Args:
        name: the method.
        config: its settings.
        own: the corpus of the fold.
        protocol: the name of what made the fold.
        fold: indices into the corpus' utterances.
        settings: the budget.
        folder: gets ``best.safetensors``, ``result.json``, ``predictions.json`` (every utterance's probabilities),
            ``spaces.safetensors`` (the features of validation and test utterances, with who and what they are) and
            ``training_spaces.safetensors`` (the same of a sample of the training utterances).
        accelerator: device and precision.
        targets: other corpora, by the name that they have in the record, to test on as a whole.
        label: how tables call the method with these settings; its name if empty.

    Returns:
        The record of ``result.json``.

    Raises:
        RunError: the folder holds a result of other settings, or the loss is not finite.
        NeutralReferenceError: training speakers without neutral speech, and ``missing_neutral="error"``.
    """
    method = make_method(name, config, own.data, fold, settings)
    cell = identify(name, method, own.identity, protocol, fold, settings)
    if (folder / RESULT_NAME).is_file():
        record = read_json(folder / RESULT_NAME)
        check_same(cell, record["cell"], folder)
    else:
        story = fit(method, own.data, fold, cell, settings, folder, accelerator)
        record = {
            "label": label or name,
            "adapts": method.adapts,
            "cell": cell,
            "test_speaker": fold.test_speaker,
            "validation_speaker": fold.validation_speaker,
            **story,
            "tests": {},
            "environment": describe(accelerator.device),
        }
    wanted = {own.identity["name"]: own, **(targets or {})}
    if missing := {key: corpus for key, corpus in wanted.items() if key not in record["tests"]}:
        method = load_model(folder / MODEL_NAME)[0].to(accelerator.device)
        predictions = read_json(folder / PREDICTIONS_NAME) if (folder / PREDICTIONS_NAME).is_file() else {}
        for key, corpus in missing.items():
            indices = fold.test if corpus is own else list(range(len(corpus.data.utterances)))
            record["tests"][key], predictions[key] = _test(method, corpus, indices, settings, accelerator)
        if own.identity["name"] in missing:
            record["uar"] = record["tests"][own.identity["name"]]["uar"]
            record["probes"] = _look_inside(method, own.data, fold, settings, folder, accelerator)
        write_json(folder / PREDICTIONS_NAME, predictions)
        write_json(folder / RESULT_NAME, record)
        (folder / STATE_NAME).unlink(missing_ok=True)
    accelerator.free_memory()
    return dict(record)


def _test(
    method: Method, corpus: CorpusData, indices: list[int], settings: TrainingSettings, accelerator: Accelerator
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    data = corpus.data
    probabilities = predict(method, _side(method, data, indices, settings), settings.batch_size, accelerator)
    rows = [
        {"key": data.utterances[i].key, "truth": int(data.labels[i]), "prediction": p.index(max(p)), "probabilities": p}
        for i, p in zip(indices, probabilities.tolist(), strict=True)
    ]
    return {"corpus": corpus.identity, **by_speaker(data, indices, probabilities)}, rows


def _look_inside(
    method: Method, data: SpeechData, fold: Fold, settings: TrainingSettings, folder: Path, accelerator: Accelerator
) -> dict[str, Any]:
    """Probes the spaces, and keeps them for pictures."""
    unseen = [*fold.validation, *fold.test]
    inside = spaces(method, _side(method, data, unseen, settings), settings.batch_size, accelerator)
    draw = torch.Generator().manual_seed(derive_seed(settings.seed, fold.number, "probe"))
    seen = [fold.train[i] for i in torch.randperm(len(fold.train), generator=draw)[:PROBED_UTTERANCES].tolist()]
    trained = spaces(method, _side(method, data, seen, settings), settings.batch_size, accelerator)
    split = ["validation"] * len(fold.validation) + ["test"] * len(fold.test)
    write_tensors(folder / SPACES_NAME, inside, _who(data, unseen, split))
    who = _who(data, seen, ["train"] * len(seen))
    write_tensors(folder / TRAINING_SPACES_NAME, trained, who)
    try:
        return probe(trained, who["speaker"], inside, data.labels[unseen])
    except DSNetError as error:  # a speaker or class with too few utterances to hold some out
        return {"error": str(error)}


def _who(data: SpeechData, indices: list[int], split: list[str]) -> dict[str, Any]:
    """The record beside spaces: who and what each row is."""
    speakers = [data.utterances[i].speaker for i in indices]
    return {"kind": "spaces", "emotion": data.labels[indices].tolist(), "speaker": speakers, "split": split}


def _side(method: Method, data: SpeechData, indices: list[int], settings: TrainingSettings) -> Side:
    return Side(data, indices, method, seed=settings.seed)
