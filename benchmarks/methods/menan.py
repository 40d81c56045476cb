"""MEnAN: a speaker classifier, and an encoder that learns to leave it undecided (maximum-entropy adversarial network)."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.methods.base import Batch, Config, Losses, Method, MethodOutput, Step
from dsnet_plugin import Classifier
from dsnet_plugin.config import check_choice
from dsnet_plugin.modes import eval_mode

Alternate = Literal["epoch", "batch"]


class MEnAN(Method):
    """C(E(x)), trained against a speaker classifier S on the same features, in two passes that alternate.

    The speaker pass trains S alone, on cross-entropy over the K training speakers. The encoder pass trains E and C on
    ``CE(C(v), y) - lambda H``, v = E(x), with H the mean entropy of softmax(S(v)); S is held, but not detached, so that H
    reaches E. A module that is held is in eval mode: it uses its running statistics and does not update them. Each epoch
    has one pass of either kind over the training set, lambda is constant, and gradients are clipped at norm 10, those of E
    and of C each by themselves, all as in the authors' public code.

    [R] ``alternate="batch"``, both passes on each batch in turn: of that variant only the name is known.

    Args:
        encoder: E, with ``num_features``.
        num_classes: the number of emotions.
        num_speakers: K, the number of training speakers.
        entropy_weight: lambda.
        alternate: after each ``"epoch"`` or each ``"batch"``.

    Raises:
        ConfigError: another ``alternate``.
    """

    name = "menan"
    needs_speakers = True
    clip_norm = 10.0

    def __init__(
        self,
        encoder: Any,
        num_classes: int,
        num_speakers: int,
        entropy_weight: float = 0.5,
        alternate: Alternate = "epoch",
    ) -> None:
        super().__init__(encoder, num_classes)
        check_choice("alternate", alternate, Alternate)
        self.num_speakers = num_speakers
        self.entropy_weight = entropy_weight
        self.alternate = alternate
        self.phases = ("speaker", "encoder") if alternate == "epoch" else ("both",)
        self.classifier = Classifier(encoder.num_features, num_classes)
        self.speaker_classifier = Classifier(encoder.num_features, num_speakers)

    def forward(self, inputs: Any, labels: Tensor | None = None) -> Tensor | MethodOutput:
        """Inputs of N utterances to logits, with labels (N,) to a :class:`MethodOutput` of the task's loss alone.

        Validation calls it so, since its speaker is none of the K; see :meth:`training_step` for the rest.
        """
        logits: Tensor = self.classifier(self.encoder(inputs))
        if labels is None:
            return logits
        task = F.cross_entropy(logits.float(), labels)
        return MethodOutput(task, logits, {"task": task})

    def training_step(self, batch: Batch, step: Step) -> Losses:
        """The pass that ``step.phase`` names. The speaker pass logs ``speaker``, the encoder pass all else."""
        losses: Losses = {}
        if step.phase in ("speaker", "both"):
            losses |= self._speaker_pass(batch["inputs"], batch["speakers"], step)
        if step.phase in ("encoder", "both"):
            losses |= self._encoder_pass(batch["inputs"], batch["labels"], step)
        return losses

    def _speaker_pass(self, inputs: Any, speakers: Tensor, step: Step) -> Losses:
        with torch.no_grad(), eval_mode(self.encoder):
            v = self.encoder(inputs)
        loss = F.cross_entropy(self.speaker_classifier(v).float(), speakers)
        step.update(loss, self.speaker_classifier.parameters())
        return {"speaker": loss}

    def _encoder_pass(self, inputs: Any, labels: Tensor, step: Step) -> Losses:
        v = self.encoder(inputs)
        task = F.cross_entropy(self.classifier(v).float(), labels)
        with eval_mode(self.speaker_classifier):
            entropy = mean_entropy(self.speaker_classifier(v))
        loss = task - self.entropy_weight * entropy
        step.watch({"task": task, "entropy": entropy})
        step.update(loss, self.encoder.parameters(), self.classifier.parameters())
        return {"total": loss, "task": task, "entropy": entropy}

    def config(self) -> Config:
        """The number of training speakers, lambda, and when the passes alternate."""
        return {
            "num_speakers": self.num_speakers,
            "entropy_weight": self.entropy_weight,
            "alternate": self.alternate,
        }

    def inference_modules(self) -> list[nn.Module]:
        """E and C."""
        return [self.encoder, self.classifier]


def mean_entropy(logits: Tensor) -> Tensor:
    """The mean over rows of the entropy of their softmax, in nats and in float32: (N, K) to a scalar, at most log K."""
    log_p = logits.float().log_softmax(1)
    return -(log_p.exp() * log_p).sum(1).mean()
