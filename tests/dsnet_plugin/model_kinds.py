"""Speech-emotion models of the kinds on which wrapping can go wrong without a word; a few thousand parameters each.

``KINDS`` says of each where its head belongs, and how a user calls it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

BINS, FRAMES, CLASSES = 20, 12, 4


def speech(rows=6, seed=0):
    """Features (N, 12, 20)."""
    return torch.randn(rows, FRAMES, BINS, generator=torch.Generator().manual_seed(seed))


class _Pooled(nn.Module):
    """A GRU whose frames are averaged: the encoder of the models below."""

    def __init__(self, width=18):
        super().__init__()
        self.gru = nn.GRU(BINS, width, batch_first=True)

    def forward(self, features):
        return self.gru(features)[0].mean(dim=1)


class ProbabilitiesAndEmbedding(nn.Module):
    """Gives probabilities in a dict and beside them the embedding, after a ReLU in place."""

    def __init__(self):
        super().__init__()
        self.encoder, self.embedding, self.emotion = _Pooled(), nn.Linear(18, 14), nn.Linear(14, CLASSES)

    def forward(self, features):
        embedding = F.relu_(self.embedding(self.encoder(features)))
        return {
            "probabilities": self.emotion(embedding).sigmoid(),
            "embedding": F.dropout(embedding, 0.2, self.training),
        }


class _HiddenToo(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(18, 10), nn.Linear(10, CLASSES)

    def forward(self, h):
        hidden = torch.tanh(self.first(h))
        return self.last(hidden), hidden


class LogitsAndHidden(nn.Module):
    """Its classifier block gives a pair."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decision = _Pooled(), _HiddenToo()

    def forward(self, features):
        logits, hidden = self.decision(self.encoder(features))
        return logits, hidden


class LogProbabilities(nn.Module):
    """Gives log-probabilities, by a layer of its classifier block."""

    def __init__(self, *behind):
        super().__init__()
        self.encoder = _Pooled()
        self.decision = nn.Sequential(nn.Linear(18, 10), nn.ReLU(), nn.Linear(10, CLASSES), *behind)

    def forward(self, features):
        return self.decision(self.encoder(features))


class LogProbabilitiesByFunction(LogProbabilities):
    """Gives log-probabilities, by a function behind its classifier block."""

    def forward(self, features):
        return F.log_softmax(super().forward(features), dim=-1)


class _LogSoftmaxInside(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(18, CLASSES)

    def forward(self, h):
        return self.last(h).log_softmax(dim=-1)


class LogProbabilitiesInBlock(nn.Module):
    """Gives log-probabilities, by a function inside its classifier block: a head can only stand in for the layer."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decision = _Pooled(), _LogSoftmaxInside()

    def forward(self, features):
        return self.decision(self.encoder(features))


class FrameScores(nn.Module):
    """Scores each frame; there are as many frames as features."""

    def __init__(self, pooled=False):
        super().__init__()
        self.gru, self.emotion, self.pooled = nn.GRU(BINS, FRAMES, batch_first=True), nn.Linear(FRAMES, CLASSES), pooled

    def forward(self, features):
        scores = self.emotion(self.gru(features)[0])
        return scores.mean(dim=1) if self.pooled else scores


class LayersInAList(nn.Module):
    """Calls its layers from a list of its own, though they are registered, too."""

    def __init__(self):
        super().__init__()
        self.encoder = _Pooled()
        self.layers = {"decision": (nn.Linear(18, 10), [nn.Linear(10, CLASSES)])}
        self.hidden, self.out = self.layers["decision"][0], self.layers["decision"][1][0]

    def forward(self, features):
        first, (last,) = self.layers["decision"]
        return last(torch.relu(first(self.encoder(features))))


class _WithLengths(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(18, CLASSES)

    def forward(self, h, lengths):
        return self.linear(h), lengths


class PaddedSpeech(nn.Module):
    """Takes features and lengths; so does its classifier block."""

    def __init__(self):
        super().__init__()
        self.gru, self.decision = nn.GRU(BINS, 18, batch_first=True), _WithLengths()

    def forward(self, features, lengths):
        frames = self.gru(features)[0]
        inside = torch.arange(features.shape[1]) < lengths[:, None]
        return self.decision((frames * inside[..., None]).sum(dim=1) / lengths[:, None], lengths)[0]


class LossOfItsOwn(nn.Module):
    """Requires labels, and computes the loss in forward."""

    def __init__(self):
        super().__init__()
        self.encoder, self.emotion = _Pooled(), nn.Linear(18, CLASSES)

    def forward(self, features, labels):
        logits = self.emotion(self.encoder(features))
        return F.cross_entropy(logits, labels), logits


class EmotionAndAge(nn.Module):
    """Two tasks."""

    def __init__(self):
        super().__init__()
        self.encoder, self.norm = _Pooled(), nn.BatchNorm1d(18)
        self.emotion, self.age = nn.Linear(18, CLASSES), nn.Linear(18, 1)

    def forward(self, features):
        h = self.norm(self.encoder(features))
        return self.emotion(h), self.age(h).squeeze(1)


class OneDict(nn.Module):
    """Takes one dict."""

    def __init__(self):
        super().__init__()
        self.encoder, self.emotion = _Pooled(), nn.Linear(18, CLASSES)

    def forward(self, batch):
        return self.emotion(self.encoder(batch["features"]))


class Block(nn.Module):
    """A classifier block of normalisation, two layers and dropout."""

    def __init__(self, classes=CLASSES):
        super().__init__()
        self.encoder = _Pooled()
        self.decision = nn.Sequential(
            nn.LayerNorm(18), nn.Linear(18, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Dropout(0.5), nn.Linear(10, classes)
        )

    def forward(self, features):
        return self.decision(self.encoder(features))


class Normed(nn.Module):
    """Has the old weight norm, which keeps a computed weight from one forward pass to the next."""

    def __init__(self):
        super().__init__()
        self.encoder, self.between = _Pooled(), nn.utils.weight_norm(nn.Linear(18, 14))
        self.emotion = nn.Linear(14, CLASSES)

    def forward(self, features):
        return self.emotion(torch.relu(self.between(self.encoder(features))))


def _alone(rows):
    return (speech(rows),)


@dataclass(frozen=True)
class Kind:
    """A model, the place of its head and the width there, how it is called, and where its output has the scores.

    ``refused`` are names of blocks that no head can stand in for.
    """

    make: Callable[[], nn.Module]
    place: str
    width: int
    inputs: Callable[[int], tuple[Any, ...]] = _alone
    scores: Callable[[Any], torch.Tensor] = lambda output: output
    refused: tuple[str, ...] = ()


def _log_probabilities(scores):
    torch.testing.assert_close(scores.exp().sum(dim=-1), torch.ones(len(scores)))
    return scores


def _probabilities(output):
    assert 0 <= float(output["probabilities"].min()) <= float(output["probabilities"].max()) <= 1
    return output["probabilities"]


KINDS = {
    "embedding": Kind(ProbabilitiesAndEmbedding, "emotion", 14, scores=_probabilities),
    "pair": Kind(LogitsAndHidden, "decision.last", 10, scores=lambda output: output[0], refused=("decision",)),
    "log-softmax-layer": Kind(
        lambda: LogProbabilities(nn.LogSoftmax(dim=-1)), "decision", 18, scores=_log_probabilities
    ),
    "log-softmax-function": Kind(LogProbabilitiesByFunction, "decision", 18, scores=_log_probabilities),
    "log-softmax-inside": Kind(
        LogProbabilitiesInBlock, "decision.last", 18, scores=_log_probabilities, refused=("decision",)
    ),
    "list": Kind(LayersInAList, "out", 10),
    "lengths": Kind(
        PaddedSpeech,
        "decision.linear",
        18,
        inputs=lambda rows: (speech(rows), torch.tensor([FRAMES, 7, 5, FRAMES][:rows])),
        refused=("decision",),
    ),
    "loss": Kind(
        LossOfItsOwn,
        "emotion",
        18,
        inputs=lambda rows: (speech(rows), torch.arange(rows)),
        scores=lambda output: output[1],
    ),
    "two-tasks": Kind(EmotionAndAge, "emotion", 18, scores=lambda output: output[0]),
    "dict": Kind(OneDict, "emotion", 18, inputs=lambda rows: ({"features": speech(rows)},)),
    "block": Kind(Block, "decision", 18),
    "weight-norm": Kind(Normed, "emotion", 14),
}
