"""The baseline: an encoder and a classifier (section 4.3)."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from benchmarks.methods.base import Config, Method, MethodOutput, Speakers
from dsnet_plugin import Classifier, NeutralReferences


class Baseline(Method):
    """C(E(x)), trained on cross-entropy; gradients clipped at norm 10.

    Args:
        encoder: E, with ``num_features``.
        num_classes: the number of emotions.
        equal_utterances: leaves out of the training set what DSNet takes out as references, one neutral utterance of each
            speaker, so that the two are compared on the same utterances.
    """

    name = "baseline"
    clip_norm = 10.0

    def __init__(self, encoder: Any, num_classes: int, equal_utterances: bool = False) -> None:
        super().__init__(encoder, num_classes)
        self.equal_utterances = equal_utterances
        self.classifier = Classifier(encoder.num_features, num_classes)

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> Tensor | MethodOutput:
        """Inputs (N, 3, T, 80) to logits, with labels to a :class:`MethodOutput`."""
        logits: Tensor = self.classifier(self.encoder(inputs))
        if labels is None:
            return logits
        task = F.cross_entropy(logits.float(), labels)
        return MethodOutput(task, logits, {"task": task})

    def pairing(self, speakers: Speakers) -> NeutralReferences | None:
        """DSNet's references, which are left out and not looked at; None where all utterances are trained on."""
        if not self.equal_utterances:
            return None
        return NeutralReferences(speakers.names, speakers.neutral, seed=speakers.seed, missing=speakers.missing)

    def config(self) -> Config:
        """Whether DSNet's references are left out."""
        return {"equal_utterances": self.equal_utterances} if self.equal_utterances else {}
