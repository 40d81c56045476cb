"""What a trained method does on utterances that it was not trained on: predictions, and what its feature spaces hold."""

from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from benchmarks.data.batches import Side, SpeechData
from benchmarks.methods import Method
from benchmarks.scores.uar import uar
from dsnet_plugin import hsic, linear_probe

PROBED_UTTERANCES = 600
"""Of the training speakers at most; more would make the probes dearer than the training."""


def predict(method: Method, side: Side, batch_size: int, accelerator: Accelerator) -> Tensor:
    """Class probabilities of a side's utterances, shape (utterances, classes), on the CPU."""
    method.eval()
    with torch.inference_mode(), accelerator.autocast():
        logits = [method(**side.unlabelled(places)) for places in _batches(side, batch_size)]
        return torch.cat(logits).float().softmax(1).cpu()


def spaces(method: Method, side: Side, batch_size: int, accelerator: Accelerator) -> dict[str, Tensor]:
    """The method's feature spaces for a side's utterances, each (utterances, D), on the CPU."""
    method.eval()
    with torch.inference_mode(), accelerator.autocast():
        found = [method.spaces(**side.unlabelled(places)) for places in _batches(side, batch_size)]
        return {name: torch.cat([own[name] for own in found]).float().cpu() for name in found[0]}


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


def probe(seen: dict[str, Tensor], speakers: list[str], unseen: dict[str, Tensor], labels: Tensor) -> dict[str, Any]:
    """How much emotion and how much speaker identity each space holds, by linear probes on held-out utterances.

    Args:
        seen: spaces of utterances of training speakers, for the question who speaks.
        speakers: theirs.
        unseen: spaces of utterances of speakers that the model never saw, for the question how.
        labels: theirs.

    Returns:
        By space the scores (balanced accuracy in percent) ``emotion`` and ``speaker`` with ``emotion_chance`` and
        ``speaker_chance``; and under ``hsic`` the dependence of z_er and z_ei where there are such, from 0 to 1.
    """
    names = sorted(set(speakers))
    who = torch.tensor([names.index(name) for name in speakers])
    found: dict[str, Any] = {}
    for name, features in unseen.items():
        emotion, speaker = linear_probe(features, labels), linear_probe(seen[name], who)
        found[name] = {
            "emotion": emotion.score,
            "emotion_chance": emotion.chance,
            "speaker": speaker.score,
            "speaker_chance": speaker.chance,
        }
    if "z_er" in unseen:
        found["hsic"] = hsic(unseen["z_er"], unseen["z_ei"])
    return found


def _batches(side: Side, batch_size: int) -> list[list[int]]:
    return [list(range(i, min(i + batch_size, len(side.indices)))) for i in range(0, len(side.indices), batch_size)]
