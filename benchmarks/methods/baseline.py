"""The baseline: encoder and classifier alone, cross-entropy (Table 2's first row)."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from benchmarks.methods.base import Method, MethodOutput
from dsnet_plugin import Classifier


class Baseline(Method):
    """C(E(x)), trained on cross-entropy; gradients clipped at norm 10 as in the authors' public code."""

    name = "baseline"
    clip_norm = 10.0

    def __init__(self, encoder: Any, num_classes: int) -> None:
        super().__init__(encoder, num_classes)
        self.classifier = Classifier(encoder.num_features, num_classes)

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> Tensor | MethodOutput:
        """Inputs (N, 3, T, 80) to logits, with labels (N,) to a :class:`MethodOutput`."""
        logits: Tensor = self.classifier(self.encoder(inputs))
        if labels is None:
            return logits
        task = F.cross_entropy(logits.float(), labels)
        return MethodOutput(task, logits, {"task": task})
