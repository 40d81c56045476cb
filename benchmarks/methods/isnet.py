"""ISNet: features standardised by what the speaker's neutral speech is estimated to look like (reference [19])."""

from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.methods.base import Batch, Config, Losses, Method, MethodOutput, Speakers, Step
from benchmarks.methods.references import KeptReferences
from benchmarks.methods.second_encoder import second_encoder
from dsnet_plugin import AttentionBlock, Classifier, ConfigError
from dsnet_plugin.modes import eval_mode


class IndividualReferences(KeptReferences):
    """k references for each speaker, drawn once; with ``self_reference`` a neutral utterance has itself k times
    instead."""

    def __init__(self, speakers: Speakers, k: int, self_reference: bool) -> None:
        super().__init__(speakers.names, speakers.neutral, k=k, seed=speakers.seed, missing=speakers.missing)
        self.is_its_own_reference = [neutral and self_reference for neutral in speakers.neutral]

    def beside(self, utterance: int, epoch: int = 0) -> list[int]:
        """k references; a speaker with fewer neutral utterances repeats them in turn."""
        references = [utterance] if self.is_its_own_reference[utterance] else self.of(self.speakers[utterance], epoch)
        return [references[i % len(references)] for i in range(self.k)] if references else []


class Standardisation(nn.Module):
    """``h - T(h)``: features less the individual benchmark, which T estimates from them.

    Args:
        features: D; T has Table 1's widths, 256-64-256, at 256.

    Shape:
        (N, D) to (N, D).
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.estimator = AttentionBlock(features)

    def forward(self, h: Tensor) -> Tensor:
        """Features (N, D) to standardised features (N, D)."""
        standardised: Tensor = h - self.estimator(h)
        return standardised


class ISNet(Method):
    """C(h - T(h)), h = E(x), trained in four steps a batch, of which each updates the modules named alone.

    1. ``first``: cross-entropy of C'(E(x)) updates E and C'.
    2. ``neutral``: the sum over pairs of references of mean |E_n(n_i) - E_n(n_j)| updates E_n, the neutral encoder.
    3. ``benchmark``: mean |T(E(x)) - mean_i E_n(n_i)| updates T.
    4. ``task``: cross-entropy of C(h - T(h)) updates C. It is what ``total`` repeats, and all that validation has.

    Features are computed again after every update: nine encoder passes with three references, as in Table 3. No gradient
    clipping. E learns from the first step alone. A constant E_n is step 2's minimum, so ``across_speakers`` logs the mean
    absolute difference between references of different speakers, beside which each pair's share of ``neutral`` may be held;
    nothing acts on it.

    Reconstruction choices [R]: references stay in the training set; modules that a step does not update are in eval mode
    in it, so that its batch statistics are not theirs either, nor its dropout; utterances without neutral speech are left
    out of steps 2 and 3, which a batch without any skips.

    Args:
        encoder: E, with ``num_features``; E_n is another one, see :func:`second_encoder`.
        num_classes: the number of emotions.
        references: neutral utterances a speaker, drawn once.
        self_reference: whether a neutral utterance has itself as all its references, as in the original authors'
            code.

    Raises:
        ConfigError: fewer than two references.
    """

    name = "isnet"
    needs_neutral = True

    def __init__(self, encoder: Any, num_classes: int, references: int = 3, self_reference: bool = True) -> None:
        super().__init__(encoder, num_classes)
        if references < 2:
            raise ConfigError(f"references={references}: expected at least 2, whose neutral features are compared")
        self.references = references
        self.self_reference = self_reference
        self.neutral_encoder = second_encoder(encoder)
        self.standardisation = Standardisation(encoder.num_features)
        self.first_classifier = Classifier(encoder.num_features, num_classes)
        self.classifier = Classifier(encoder.num_features, num_classes)

    def forward(self, inputs: Any, labels: Tensor | None = None, **neutral: Any) -> Tensor | MethodOutput:
        """Inputs (N, 3, T, 80) to logits, with labels (N,) to a :class:`MethodOutput`; neutral speech is not looked at."""
        logits: Tensor = self.classifier(self.standardisation(self.encoder(inputs)))
        if labels is None:
            return logits
        task = F.cross_entropy(logits.float(), labels)
        return MethodOutput(task, logits, {"task": task})

    def training_step(self, batch: Batch, step: Step) -> Losses:
        """The four steps. ``neutral_index`` (N, references) and ``neutral_mask`` (N,) come with ``neutral``, K rows."""
        inputs, labels = batch["inputs"], batch["labels"]
        losses = {"first": F.cross_entropy(self.first_classifier(self.encoder(inputs)).float(), labels)}
        step.watch(losses)  # no other loss reaches the encoder
        step.update(losses["first"], self.encoder.parameters(), self.first_classifier.parameters())
        if "neutral" in batch:
            losses |= self._learn_benchmarks(batch, step)
        with eval_mode(self.encoder, self.standardisation), torch.no_grad():
            standardised = self.standardisation(self.encoder(inputs))
        losses["task"] = F.cross_entropy(self.classifier(standardised).float(), labels)
        step.update(losses["task"], self.classifier.parameters())
        return {"total": losses["task"], **losses}

    def pairing(self, speakers: Speakers) -> IndividualReferences:
        """Drawn once for each speaker, and trained on."""
        return IndividualReferences(speakers, self.references, self.self_reference)

    def spaces(self, inputs: Any, **neutral: Tensor) -> dict[str, Tensor]:
        """h, and what is left of it without the individual benchmark."""
        h = self.encoder(inputs)
        return {"h": h, "h_standardised": self.standardisation(h)}

    def config(self) -> Config:
        """The number of references and what stands beside neutral utterances."""
        return {"references": self.references, "self_reference": self.self_reference}

    def inference_modules(self) -> list[nn.Module]:
        """E, T and C."""
        return [self.encoder, self.standardisation, self.classifier]

    def _learn_benchmarks(self, batch: Batch, step: Step) -> Losses:
        """Steps 2 and 3."""
        neutral, index, mask = batch["neutral"], batch["neutral_index"], batch["neutral_mask"]
        features = self.neutral_encoder(neutral)[index].float()  # (N, references, D)
        pairs = combinations(features.unbind(1), 2)
        alike = torch.stack([(one - other).abs().mean(1) for one, other in pairs]).sum(0)
        losses = {"neutral": _mean(alike, mask), "across_speakers": _across_speakers(features.detach(), index, mask)}
        step.update(losses["neutral"], self.neutral_encoder.parameters())
        with eval_mode(self.encoder, self.neutral_encoder), torch.no_grad():
            h = self.encoder(batch["inputs"])
            features = self.neutral_encoder(neutral)[index].float()
        estimated = self.standardisation.estimator(h).float()
        losses["benchmark"] = _mean((estimated - features.mean(1)).abs().mean(1), mask)
        step.update(losses["benchmark"], self.standardisation.parameters())
        return losses


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of values over the true places of the mask, of the same shape; 0, with gradients of 0, where there is none."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def _across_speakers(features: Tensor, index: Tensor, mask: Tensor) -> Tensor:
    """Mean |E_n(n) - E_n(n')| over rows of different speakers, shape (); 0 in a batch of one speaker.

    Args:
        features: (N, references, D).
        index: (N, references), the references' places among the distinct ones.
        mask: (N,).
    """
    # Rows of one speaker have the same references, but for neutral rows beside themselves, whose speaker index does not say.
    known = mask & (index != index[:, :1]).any(1)
    apart = (index[:, None] != index[None]).any(2) & known[:, None] & known[None]
    rows, references, width = features.shape
    flat = features.reshape(-1, width)
    distances = torch.cdist(flat, flat, p=1) / width
    distances = distances.reshape(rows, references, rows, references).mean((1, 3))
    return _mean(distances, apart)
