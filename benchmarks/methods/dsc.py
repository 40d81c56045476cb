"""DSC, deep speaker conditioning: the encoder conditioned on one neutral utterance of the speaker (reference [18])."""

from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backbones.stages import stage_output, stages
from benchmarks.methods.base import Config, Method, MethodOutput, Speakers
from benchmarks.methods.references import KeptReferences
from benchmarks.methods.second_encoder import second_encoder
from dsnet_plugin import Classifier, ConfigError
from dsnet_plugin.config import check_choice

Fusion = Literal["add", "sub", "gate", "multistage"]


class ConditioningReferences(KeptReferences):
    """One reference a speaker; beside the reference itself the speaker's second, or none where there is no second."""

    def __init__(self, speakers: Speakers) -> None:
        super().__init__(speakers.names, speakers.neutral, k=2, seed=speakers.seed, missing=speakers.missing)

    def beside(self, utterance: int, epoch: int = 0) -> list[int]:
        """The first of the speaker's two that is not the utterance."""
        return [other for other in self.of(self.speakers[utterance], epoch) if other != utterance][:1]


class DSC(Method):
    """C(fuse(E(x), e)), e = A(x_n), trained on cross-entropy; gradients clipped at norm 10. Takes x_n in inference, too.

    ``fusion`` says how e, which the auxiliary encoder A reads from the neutral utterance x_n, conditions E:

    - ``"add"``: E(x) + e, the reading that matches Table 3 [R];
    - ``"sub"``: E(x) - e;
    - ``"gate"``: E(x) + softmax(e) * E(x), nearly inert;
    - ``"multistage"``: relu(Linear_l(e)) is added to each stage l of E, the same over time and frequency; nearest to the
      original idea.

    Further reconstruction choices [R]: a speaker's reference is drawn once and stays in the training set, where the
    speaker's second neutral utterance stands beside it; an utterance without neutral speech falls back to C(E(x)).

    Args:
        encoder: E, with ``num_features``; A is another one, see :func:`second_encoder`.
        num_classes: the number of emotions.
        fusion: one of the four.

    Raises:
        ConfigError: an unknown fusion, or ``"multistage"`` on an encoder without known stages.
    """

    name = "dsc"
    needs_neutral = True
    neutral_in_inference = True
    adapts = True
    clip_norm = 10.0

    def __init__(self, encoder: Any, num_classes: int, fusion: Fusion = "add") -> None:
        super().__init__(encoder, num_classes)
        check_choice("fusion", fusion, Fusion)
        self.fusion = fusion
        self.auxiliary = second_encoder(encoder)
        self.conditions = nn.ModuleList()
        self.classifier = Classifier(encoder.num_features, num_classes)
        if fusion == "multistage":
            self._hook_stages()

    def forward(
        self,
        inputs: Any,
        labels: Tensor | None = None,
        neutral: Any = None,
        neutral_index: Tensor | None = None,
        neutral_mask: Tensor | None = None,
    ) -> Tensor | MethodOutput:
        """Inputs (N, 3, T, 80) to logits, with labels (N,) to a :class:`MethodOutput`.

        ``neutral`` holds one reference a row, or with ``neutral_index`` (N,) K distinct ones, each of which is encoded
        once; ``neutral_mask`` (N,) is False for rows without one. Without ``neutral`` no row has one.
        """
        logits: Tensor = self.classifier(self._fused(inputs, neutral, neutral_index, neutral_mask))
        if labels is None:
            return logits
        task = F.cross_entropy(logits.float(), labels)
        return MethodOutput(task, logits, {"task": task})

    def pairing(self, speakers: Speakers) -> ConditioningReferences:
        """Drawn once for each speaker, and trained on."""
        return ConditioningReferences(speakers)

    def spaces(self, inputs: Any, **neutral: Any) -> dict[str, Tensor]:
        """h, the fused feature."""
        return {"h": self._fused(inputs, **neutral)}

    def config(self) -> Config:
        """The fusion."""
        return {"fusion": self.fusion}

    def _fused(
        self,
        inputs: Any,
        neutral: Any = None,
        neutral_index: Tensor | None = None,
        neutral_mask: Tensor | None = None,
    ) -> Tensor:
        """What C classifies, (N, D)."""
        if neutral is None:
            h: Tensor = self.encoder(inputs)
            return h
        e = self.auxiliary(neutral)
        if neutral_index is not None:
            e = e[neutral_index] if neutral_index.dim() == 1 else e[neutral_index].mean(1)
        has_one = e.new_ones(len(e), 1, dtype=torch.bool) if neutral_mask is None else neutral_mask[:, None]
        if self.fusion == "multistage":
            return self._conditioned(inputs, e, has_one)
        h = self.encoder(inputs)
        if self.fusion == "add":
            fused = h + e
        elif self.fusion == "sub":
            fused = h - e
        else:
            fused = h + e.softmax(1) * h
        return torch.where(has_one, fused, h)

    def _hook_stages(self) -> None:
        """Makes the stages' linear layers and permanent hooks: a compiled encoder ignores hooks that are added later."""
        conditioned = stages(self.encoder)
        if not conditioned:
            raise ConfigError(
                f"fusion='multistage' acts on the stages of an encoder, and none of {type(self.encoder).__name__} are "
                "known; use add, sub or gate"
            )
        self.conditions.extend(nn.Linear(self.encoder.num_features, stage.channels) for stage in conditioned)
        self._shifts: list[Tensor] = []  # one for each stage, (N, channels), during a pass of E
        for place, stage in enumerate(conditioned):
            stage.module.register_forward_hook(partial(self._shift, place, stage.dim))

    def _conditioned(self, inputs: Any, e: Tensor, has_one: Tensor) -> Tensor:
        """E(x) with e (N, D) added to its stages where a row has one."""
        self._shifts = [F.relu(condition(e)) * has_one for condition in self.conditions]
        try:
            h: Tensor = self.encoder(inputs)
        finally:
            self._shifts = []
        return h

    def _shift(self, place: int, dim: int, module: nn.Module, inputs: Any, output: Any) -> Any:
        """The hook of a stage whose channels are at ``dim``; if the encoder is run on some rows only,
        ``encoder.rows`` names them."""
        if not self._shifts:
            return output
        x, shift, rows = stage_output(output), self._shifts[place], getattr(self.encoder, "rows", None)
        shape = [len(x)] + [1] * (x.dim() - 1)
        shape[dim] = -1
        x = x + (shift if rows is None else shift[rows]).to(x.dtype).reshape(shape)
        return x if isinstance(output, Tensor) else (x, *output[1:])
