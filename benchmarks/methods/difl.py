"""DIFL: domain-invariant feature learning, with the training speakers as sources and the test speaker as target."""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.stages import StageReader
from benchmarks.methods.base import Batch, Config, Losses, Method, MethodOutput, Step
from benchmarks.methods.gradient_reversal import reversal_strength, reverse_gradient
from benchmarks.methods.mmd import mean_squared_mmd
from dsnet_plugin import Classifier
from dsnet_plugin.config import check_choice

Weights = Literal["strong-weak", "weak-strong"]

STRONG, WEAK = 1.0, 0.1
ADVERSARIAL_WEIGHT = 0.1


class DIFL(Method):
    """C(E(x)), with features aligned over speakers by moments at several depths and by discriminators at the end.

    Multi-source unsupervised domain adaptation: each training speaker is a source domain, the test speaker's utterances
    are the target, whose sound alone is used. The loss is
    ``CE(C(h), y) + L_A + 0.1 CE(D_s(h), speaker) + 0.1 CE(D_d(h), source or target)``:

    - ``L_A = sum_l omega_l mean_d MMD^2(domain d, all others)`` at the taps g_l: the mean output of each stage of the
      encoder (:func:`backbones.stages.stages`), and h;
    - D_s tells the training speakers apart, D_d source from target, both behind gradient reversal on Ganin's ramp.

    Adam over all, gradients clipped at norm 10.

    [R] The original text could not be consulted, and all but its outline is a reconstruction: the taps, MMD with five
    kernels, omega (see :func:`alignment_weights`), both discriminators, which have C's form, the weights 0.1, the 16
    target utterances beside each batch, and that source and target go through E in one batch, so that both are
    normalised by the same statistics. In inference these are the training speakers' alone, as for every method.

    Args:
        encoder: E, with ``num_features``.
        num_classes: the number of emotions.
        num_speakers: K, the number of training speakers.
        weights: ``"strong-weak"`` aligns early taps strongly and late ones weakly, ``"weak-strong"`` the reverse.

    Raises:
        ConfigError: other ``weights``.
    """

    name = "difl"
    needs_speakers = True
    target_rows = 16
    balanced = True
    adapts = True
    clip_norm = 10.0

    def __init__(self, encoder: Any, num_classes: int, num_speakers: int, weights: Weights = "strong-weak") -> None:
        super().__init__(encoder, num_classes)
        self.num_speakers = num_speakers
        self.weights = weights
        self.reader = StageReader(encoder)
        self.omega = alignment_weights(len(self.reader.stages) + 1, weights)
        self.classifier = Classifier(encoder.num_features, num_classes)
        self.speaker_head = Classifier(encoder.num_features, num_speakers)
        self.domain_head = Classifier(encoder.num_features, 2)

    def forward(
        self,
        inputs: Any,
        labels: Tensor | None = None,
        speakers: Tensor | None = None,
        target: Any = None,
        progress: float = 0.0,
    ) -> Tensor | MethodOutput:
        """Inputs of N utterances to logits, with labels (N,) to a :class:`MethodOutput`.

        Without ``speakers`` (N,), as in validation, the task's loss is all there is; with them ``target`` holds the inputs
        of M utterances of the test speaker. ``progress`` is the training's, from 0 to 1.
        """
        if labels is None or speakers is None:
            logits: Tensor = self.classifier(self.encoder(inputs))
            if labels is None:
                return logits
            task = F.cross_entropy(logits.float(), labels)
            return MethodOutput(task, logits, {"task": task})
        h, taps = self.reader(_joined(inputs, target))
        sources = len(labels)
        logits = self.classifier(h[:sources])
        domains = F.pad(speakers, (0, len(h) - sources), value=self.num_speakers)
        reversed_h = reverse_gradient(h, reversal_strength(progress))
        losses = {
            "task": F.cross_entropy(logits.float(), labels),
            "alignment": self._alignment([*taps, h], domains),
            "speaker": F.cross_entropy(self.speaker_head(reversed_h[:sources]).float(), speakers),
            "domain": F.cross_entropy(self.domain_head(reversed_h).float(), (domains == self.num_speakers).long()),
        }
        adversarial = losses["speaker"] + losses["domain"]
        return MethodOutput(losses["task"] + losses["alignment"] + ADVERSARIAL_WEIGHT * adversarial, logits, losses)

    def training_step(self, batch: Batch, step: Step) -> Losses:
        """One update of everything."""
        return super().training_step({**batch, "progress": step.progress}, step)

    def config(self) -> Config:
        """The number of training speakers and the order of the weights."""
        return {"num_speakers": self.num_speakers, "weights": self.weights}

    def inference_modules(self) -> list[nn.Module]:
        """E and C."""
        return [self.encoder, self.classifier]

    def _alignment(self, taps: list[Tensor], domains: Tensor) -> Tensor:
        """L_A over the K speakers and, as domain K, the target."""
        discrepancies = [mean_squared_mmd(tap, domains, self.num_speakers + 1) for tap in taps]
        return torch.stack([omega * mmd for omega, mmd in zip(self.omega, discrepancies, strict=True)]).sum()


def alignment_weights(taps: int, weights: Weights) -> list[float]:
    """omega: for the paper's five taps (1, 1, 0.1, 0.1, 0.1), or in reverse; generally the first half, rounded down, is 1.

    Raises:
        ConfigError: other ``weights``.
    """
    check_choice("weights", weights, Weights)
    strong = taps // 2
    omega = [STRONG] * strong + [WEAK] * (taps - strong)
    return omega if weights == "strong-weak" else omega[::-1]


def _joined(source: Any, target: Any) -> Any:
    """One batch of both, source first; waveforms and masks are padded to the longer side."""
    if isinstance(source, Tensor):
        return torch.cat([source, target])
    width = max(side["waveform"].shape[1] for side in (source, target))
    return {
        name: torch.cat([F.pad(side[name], (0, width - side[name].shape[1])) for side in (source, target)])
        for name in ("waveform", "mask")
    }
