"""The record of a finished cell: what identifies it, how its test is written down, the files it is in, what a line must have."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from torch import Tensor

from benchmarks.data import Fold, SpeechData
from benchmarks.errors import RunError
from benchmarks.methods import Method
from benchmarks.scores.uar import uar
from benchmarks.training import TrainingSettings

RESULT_NAME = "result.json"
PREDICTIONS_NAME = "predictions.json"
SPACES_NAME = "spaces.safetensors"
TRAINING_SPACES_NAME = "training_spaces.safetensors"

LINES_NAME = "cells.jsonl"
"""A run's finished cells, one JSON line each: what a report is made of."""

SPEED_NAME = "speed.jsonl"
"""A run's measurements, one JSON line each, beside its cells."""

_CORPUS: dict[str, Any] = {"name": str, "utterances": int, "sha256": str}
_RECORD: dict[str, Any] = {
    "label": str,
    "adapts": bool,
    "cell": {
        "corpus": _CORPUS,
        "method": str,
        "config": dict,
        "protocol": str,
        "fold": int,
        "settings": {"encoder": str, "seed": int, "max_frames": int, "batch_size": int, "precision": str},
    },
    "seconds": float,
    "curves": list,
    "tests": dict,
    "environment": dict,
}
_TEST: dict[str, Any] = {"corpus": _CORPUS, "speakers": dict}
"""What the report needs of a record, and the type of each entry; an int is a float too."""


def identify(
    name: str, method: Method, corpus: dict[str, Any], protocol: str, fold: Fold, settings: TrainingSettings
) -> dict[str, Any]:
    """What makes a training this one and no other, as JSON can hold it."""
    return {
        "corpus": corpus,
        "method": name,
        "config": method.config(),
        "protocol": protocol,
        "fold": fold.number,
        "settings": asdict(settings),
    }


def by_speaker(data: SpeechData, indices: list[int], probabilities: Tensor) -> dict[str, Any]:
    """Truth and prediction of utterances, as JSON can hold them in little room.

    Returns:
        ``uar`` in percent, and ``speakers``: of each by name ``sex`` and the strings ``truth`` and ``predicted``, with one
        digit an utterance, the class' place in ``EMOTIONS``, in the order of the utterances' keys.
    """
    predicted = probabilities.argmax(1).tolist()
    speakers: dict[str, Any] = {}
    for i, guess in sorted(zip(indices, predicted, strict=True), key=lambda pair: data.utterances[pair[0]].key):
        utterance = data.utterances[i]
        own = speakers.setdefault(utterance.speaker, {"sex": utterance.sex, "truth": "", "predicted": ""})
        own["truth"] += str(int(data.labels[i]))
        own["predicted"] += str(guess)
    return {"uar": uar(data.labels[indices], predicted), "speakers": dict(sorted(speakers.items()))}


def check_line(where: str, record: Any) -> None:
    """Checks that a line is a finished cell's record, with all that a report needs of one.

    Raises:
        RunError: it is not; ``where`` is named.
    """
    wrong = list(_misfits(record, _RECORD, "record"))
    if not wrong:
        wrong = [text for name, test in record["tests"].items() for text in _misfits(test, _TEST, f"tests.{name}")]
    if wrong:
        raise RunError(f"{where}: not a finished cell's record: {'; '.join(wrong)}")


def _misfits(found: Any, wanted: Any, name: str) -> Iterator[str]:
    """What is not as ``wanted``, a type or a mapping of names to such."""
    kind = dict if isinstance(wanted, dict) else wanted
    fitting: Any = (int, float) if kind is float else kind
    if not isinstance(found, fitting):
        yield f"{name} is a {type(found).__name__}, expected {kind.__name__}"
    elif isinstance(wanted, dict):
        for key, own in wanted.items():
            if key in found:
                yield from _misfits(found[key], own, key)
            else:
                yield f"{name} lacks {key}"
