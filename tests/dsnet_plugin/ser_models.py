"""Six speech-emotion models as people write them, of a few thousand parameters: features (N, T, 20) to logits.

Each has ``WIDTH`` features in front of the classifier ``NAME``, and ``logits_of`` its output.
"""

import torch
import torch.nn.functional as F
from torch import nn

BINS, CLASSES = 20, 4


class AttentionCNN(nn.Module):
    """A CNN with attention pooling."""

    NAME, WIDTH = "emotion", 24

    def __init__(self):
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv1d(BINS, 16, 5, padding=2), nn.BatchNorm1d(16), nn.ReLU(), nn.Conv1d(16, 24, 3, padding=1), nn.ReLU()
        )
        self.attention = nn.Linear(24, 1)
        self.emotion = nn.Linear(24, CLASSES)

    def forward(self, features):
        frames = self.convolutions(features.transpose(1, 2)).transpose(1, 2)
        weights = self.attention(frames).softmax(dim=1)
        return self.emotion((weights * frames).sum(dim=1))

    @staticmethod
    def logits_of(output):
        return output


class CNNBiLSTM(nn.Module):
    """A CNN, a BiLSTM, and a classifier that is the last of a Sequential."""

    NAME, WIDTH = "head", 28

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv1d(BINS, 16, 5, stride=2, padding=2)
        self.lstm = nn.LSTM(16, 14, batch_first=True, bidirectional=True)
        self.head = nn.Sequential(nn.Linear(28, 18), nn.ReLU(), nn.Dropout(0.3), nn.Linear(18, CLASSES))

    def forward(self, features):
        frames, _ = self.lstm(F.relu(self.convolution(features.transpose(1, 2))).transpose(1, 2))
        return self.head(frames.mean(dim=1))

    @staticmethod
    def logits_of(output):
        return output


class FeatureTransformer(nn.Module):
    """A transformer that gives ``(logits, features)``; the features are what a LayerNorm gives."""

    NAME, WIDTH = "out", 16

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(BINS, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.out = nn.Linear(16, CLASSES)

    def forward(self, features, lengths=None):
        frames = self.layer(self.embed(features))
        pooled = self.norm(frames.mean(dim=1))
        return self.out(pooled), pooled

    @staticmethod
    def logits_of(output):
        return output[0]


class LogSoftmaxModel(nn.Module):
    """A model that ends in log-softmax, for ``nn.NLLLoss``."""

    NAME, WIDTH = "fc", 12

    def __init__(self):
        super().__init__()
        self.encoder = nn.GRU(BINS, 12, batch_first=True)
        self.fc = nn.Linear(12, CLASSES)
        self.log_softmax = nn.LogSoftmax(dim=-1)

    def forward(self, features):
        return self.log_softmax(self.fc(self.encoder(features)[1][0]))

    @staticmethod
    def logits_of(output):
        return output


class TwoHeads(nn.Module):
    """Emotion and gender, in a dict."""

    NAME, WIDTH = "emotion_head", 22

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(BINS, 22), nn.ReLU())
        self.emotion_head = nn.Linear(22, CLASSES)
        self.gender_head = nn.Linear(22, 2)

    def forward(self, features):
        pooled = self.encoder(features).mean(dim=1)
        return {"emotion": self.emotion_head(pooled), "gender": self.gender_head(pooled)}

    @staticmethod
    def logits_of(output):
        return output["emotion"]


class SharedWeight(nn.Module):
    """The classifier's weight is that of an embedding of emotions, which the features are drawn towards."""

    NAME, WIDTH = "classifier", 26

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(BINS, 26), nn.Tanh())
        self.emotions = nn.Embedding(CLASSES, 26)
        self.classifier = nn.Linear(26, CLASSES)
        self.classifier.weight = self.emotions.weight

    def forward(self, features):
        pooled = self.encoder(features).mean(dim=1)
        return self.classifier(pooled + 0.1 * self.emotions.weight.mean(dim=0))

    @staticmethod
    def logits_of(output):
        return output


SER_MODELS = (AttentionCNN, CNNBiLSTM, FeatureTransformer, LogSoftmaxModel, TwoHeads, SharedWeight)
UNTOLD = {TwoHeads}
"""Without a number of classes these have more than one classifier to choose from."""


def speech(rows=6, seed=0):
    """Features (N, 12, 20)."""
    return torch.randn(rows, 12, BINS, generator=torch.Generator().manual_seed(seed))
