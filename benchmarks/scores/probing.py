"""What a method's feature spaces hold: emotion and speaker, by linear probes."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dsnet_plugin import hsic, linear_probe

PROBED_UTTERANCES = 600
"""The most utterances of training speakers that are probed; more would make the probes dearer than the training."""


@dataclass(frozen=True)
class SpaceProbe:
    """What linear probes read off one feature space: balanced accuracies in percent."""

    emotion: float
    """The emotion of speakers whom the model never saw."""

    emotion_chance: float
    """What guessing the emotion gives."""

    speaker: float
    """The identity of training speakers."""

    speaker_chance: float
    """What guessing the speaker gives."""


@dataclass(frozen=True)
class Probes:
    """What a method's feature spaces hold."""

    spaces: Mapping[str, SpaceProbe]
    """The scores of each space, by its name; empty where nothing could be probed."""

    hsic: float | None
    """The dependence of z_er and z_ei, from 0 to 1; None for a method without them."""

    error: str | None
    """Why nothing could be probed; None where something was."""


def probe(seen: dict[str, Tensor], speakers: list[str], unseen: dict[str, Tensor], labels: Tensor) -> Probes:
    """How much emotion and how much speaker identity each space holds, by linear probes on held-out utterances.

    Args:
        seen: spaces of utterances of training speakers, for the question who speaks.
        speakers: the speakers of those utterances.
        unseen: spaces of utterances of speakers that the model never saw, for the question how.
        labels: the emotions of those utterances.

    Raises:
        DSNetError: a speaker or a class has too few utterances to hold some out.
    """
    names = sorted(set(speakers))
    who = torch.tensor([names.index(name) for name in speakers])
    scores: dict[str, SpaceProbe] = {}
    for name, features in unseen.items():
        emotion, speaker = linear_probe(features, labels), linear_probe(seen[name], who)
        scores[name] = SpaceProbe(emotion.score, emotion.chance, speaker.score, speaker.chance)
    return Probes(scores, hsic(unseen["z_er"], unseen["z_ei"]) if "z_er" in unseen else None, None)
