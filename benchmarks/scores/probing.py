"""What a method's feature spaces hold: emotion and speaker, by linear probes."""

from typing import Any

import torch
from torch import Tensor

from dsnet_plugin import hsic, linear_probe

PROBED_UTTERANCES = 600
"""Of the training speakers at most; more would make the probes dearer than the training."""


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
