"""DANN: domain-adversarial training with the training speakers as domains (Ganin et al., JMLR 2016)."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.methods.base import Batch, Config, Losses, Method, MethodOutput, Step
from benchmarks.methods.gradient_reversal import reversal_strength, reverse_gradient
from dsnet_plugin import Classifier


class DANN(Method):
    """C(E(x)), and behind gradient reversal a speaker classifier on h = E(x), which E thereby learns to mislead.

    It sees the training speakers alone and is no row of Table 2, but the classic yardstick beside it. The losses are added
    without weights, and the strength of the reversal follows Ganin's ramp over the training; Adam over all, gradients
    clipped at norm 10.

    [R] The speaker classifier has C's form, and the domains are the speakers.

    Args:
        encoder: E, with ``num_features``.
        num_classes: the number of emotions.
        num_speakers: K, the number of training speakers.
    """

    name = "dann"
    needs_speakers = True
    clip_norm = 10.0

    def __init__(self, encoder: Any, num_classes: int, num_speakers: int) -> None:
        super().__init__(encoder, num_classes)
        self.num_speakers = num_speakers
        self.classifier = Classifier(encoder.num_features, num_classes)
        self.speaker_head = Classifier(encoder.num_features, num_speakers)

    def forward(
        self, inputs: Any, labels: Tensor | None = None, speakers: Tensor | None = None, progress: float = 0.0
    ) -> Tensor | MethodOutput:
        """Inputs of N utterances to logits, with labels (N,) to a :class:`MethodOutput`.

        Without ``speakers`` (N,), as in validation, whose speaker is none of the K, the task's loss is all there is.
        ``progress`` is the training's, from 0 to 1.
        """
        h = self.encoder(inputs)
        logits: Tensor = self.classifier(h)
        if labels is None:
            return logits
        task = F.cross_entropy(logits.float(), labels)
        if speakers is None:
            return MethodOutput(task, logits, {"task": task})
        speaker_logits = self.speaker_head(reverse_gradient(h, reversal_strength(progress)))
        speaker = F.cross_entropy(speaker_logits.float(), speakers)
        return MethodOutput(task + speaker, logits, {"task": task, "speaker": speaker})

    def training_step(self, batch: Batch, step: Step) -> Losses:
        """One update of everything."""
        return super().training_step({**batch, "progress": step.progress}, step)

    def config(self) -> Config:
        """The number of training speakers."""
        return {"num_speakers": self.num_speakers}

    def inference_modules(self) -> list[nn.Module]:
        """E and C."""
        return [self.encoder, self.classifier]
