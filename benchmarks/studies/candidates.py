"""Forms that DSNet might take: what the search of :mod:`benchmarks.studies.search` chooses from, written down before it ran."""

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.methods import Baseline, Batch, DSNet, Losses, Method, MethodOutput, Step, Subtraction
from benchmarks.methods.gradient_reversal import reversal_strength, reverse_gradient
from benchmarks.methods.subtraction import less_reference
from benchmarks.studies.standardised import STANDARDISED
from dsnet_plugin import Classifier, DisentangleHead

_CONTRAST_TEMPERATURE = 0.1
_ADVERSARY_WEIGHT = 0.1


@dataclass(frozen=True)
class Candidate:
    """One form, as what it adds to the paper's."""

    says: str
    """What it is, for a table."""

    config: dict[str, Any] = field(default_factory=dict)
    """Settings of :class:`benchmarks.methods.DSNet` other than the defaults."""

    identity: bool = False
    """Whether W_3 of P_er (eq. 2) begins as the identity."""

    detached: bool = False
    """Whether the calibration moves z_ei alone, and not the features of the references."""

    contrast: bool = False
    """Whether z_ei is to find its own speaker's reference among the batch's, in place of eq. 8."""

    recombination: bool = False
    """Whether z_er of one utterance, restored with z_ei of another, must keep the first one's emotion."""

    adversary: bool = False
    """Whether a speaker classifier behind gradient reversal reads z_er."""

    sentence: str = "none"
    """When the reference is subtracted, in training and in inference: ``"none"`` never; ``"half"`` in half of the training
    rows, as :class:`dsnet_plugin.DisentangleConfig` has it; ``"always"`` in every row; ``"before"`` from the input of E."""


CANDIDATES: dict[str, Candidate] = {
    "paper": Candidate("the paper's form, made stable"),
    "literal": Candidate("eq. 4 and 6 summed", {"orthogonality_reduction": "sum", "reconstruction_reduction": "sum"}),
    "temperature": Candidate("softmax of eq. 8 at temperature 0.1", {"temperature": 0.1}),
    "gamma-10": Candidate("calibration at weight 10", {"gamma": 10.0}),
    "alpha-10": Candidate("orthogonality at weight 10", {"alpha": 10.0}),
    "detached": Candidate("references detached", detached=True),
    "three": Candidate("three references of a speaker, averaged", {"references": 3}),
    "identity": Candidate("W_3 of P_er begun as the identity", identity=True),
    "contrast": Candidate("calibration as a contrast", identity=True, contrast=True),
    "contrast-10": Candidate("the same, orthogonality at weight 10", {"alpha": 10.0}, identity=True, contrast=True),
    "recombination": Candidate(
        "the same, and recombination", {"alpha": 10.0}, identity=True, contrast=True, recombination=True
    ),
    "adversary": Candidate("an adversary on z_er", identity=True, adversary=True),
    "sentence": Candidate("one sentence, in half of the training rows", {"reference": "difference"}, sentence="half"),
    "sentence-always": Candidate("one sentence, in all training rows", {"reference": "difference"}, sentence="always"),
    "sentence-contrast": Candidate(
        "one sentence, in half of the rows; calibration as a contrast",
        {"reference": "difference"},
        contrast=True,
        sentence="half",
    ),
    "sentence-before": Candidate("one sentence, subtracted before E", identity=True, sentence="before"),
}
"""By name. ``identity`` and what follows it begin W_3 as the identity, and so does every form that takes a sentence."""


class CandidateDSNet(DSNet):
    """DSNet in one of the forms.

    Args:
        encoder: E, with ``num_features``.
        num_classes: the number of emotions.
        candidate: the form.
        num_speakers: K, the number of training speakers.
    """

    needs_speakers = True

    def __init__(self, encoder: Any, num_classes: int, candidate: Candidate, num_speakers: int) -> None:
        config = {**candidate.config, "gamma": 0.0} if candidate.contrast else candidate.config
        super().__init__(encoder, num_classes, **config)
        self.candidate = candidate
        if candidate.sentence == "always":
            self.head = _Always(encoder.num_features, num_classes, self.head.config)
        self.neutral_in_inference = self.neutral_optional = self.adapts = candidate.sentence != "none"
        if candidate.identity:
            nn.init.eye_(self.head.p_er.projection.weight)
            nn.init.zeros_(self.head.p_er.projection.bias)
        self.speaker_head = Classifier(encoder.num_features, num_speakers) if candidate.adversary else None

    def forward(  # type: ignore[override]
        self,
        inputs: Tensor,
        labels: Tensor | None = None,
        neutral: Tensor | None = None,
        neutral_index: Tensor | None = None,
        neutral_mask: Tensor | None = None,
        speakers: Tensor | None = None,
        progress: float = 0.0,
    ) -> Tensor | MethodOutput:
        """Inputs of N utterances to logits, with labels (N,) to a :class:`MethodOutput`."""
        if self.candidate.sentence == "before":
            inputs = less_reference(inputs, self.encoder.input_kind, neutral, neutral_index, neutral_mask)
        h, h_n = self.encode(inputs, neutral)
        if self.candidate.detached and h_n is not None:
            h_n = h_n.detach()
        output = self.head(h, labels, h_n, neutral_index, neutral_mask)
        if labels is None:
            return output  # type: ignore[no-any-return]
        loss, losses = output.loss, dict(output.losses)
        if self.candidate.contrast and h_n is not None and len(h_n) > 1:
            similarity = F.cosine_similarity(output.z_ei[:, None], h_n[None], dim=2) / _CONTRAST_TEMPERATURE
            assert neutral_index is not None
            assert neutral_mask is not None
            each = F.cross_entropy(similarity.float(), neutral_index, reduction="none")
            losses["contrast"] = (each * neutral_mask).sum() / neutral_mask.sum().clamp(min=1)
            loss = loss + losses["contrast"]
        if self.candidate.recombination and self.training:
            other = torch.randperm(len(h), device=h.device)
            mixed = self.head.restorer(torch.cat([output.z_er, output.z_ei[other]], dim=1))
            losses["recombination"] = F.cross_entropy(self.head.classifier(self.head.p_er(mixed)).float(), labels)
            loss = loss + losses["recombination"]
        if self.speaker_head is not None and speakers is not None:
            told = self.speaker_head(reverse_gradient(output.z_er, reversal_strength(progress)))
            losses["speaker"] = F.cross_entropy(told.float(), speakers)
            loss = loss + _ADVERSARY_WEIGHT * losses["speaker"]
        return MethodOutput(loss, output.logits, losses)

    def training_step(self, batch: Batch, step: Step) -> Losses:
        """One update of everything."""
        return super().training_step({**batch, "progress": step.progress}, step)


class _Always(DisentangleHead):
    """A head that subtracts the reference in every training row that has one."""

    def _emotion_relevant(self, h: Tensor, z_ei: Tensor | None, h_n: Tensor | None, mask: Tensor | None) -> Tensor:
        training, self.training = self.training, False
        try:
            return super()._emotion_relevant(h, z_ei, h_n, mask)
        finally:
            self.training = training


def make_candidate(name: str, encoder: Any, num_classes: int, num_speakers: int) -> Method:
    """A form by its name; those that begin with ``baseline`` are what the forms are measured by."""
    if name == "baseline-sentence":
        return Subtraction(encoder, num_classes)
    if name == "baseline" or name in STANDARDISED:
        return Baseline(encoder, num_classes, equal_utterances=True)
    return CandidateDSNet(encoder, num_classes, CANDIDATES[name], num_speakers)
