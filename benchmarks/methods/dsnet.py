"""DSNet: the encoder under a disentanglement head, with a second pass over the neutral references."""

from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from benchmarks.methods.base import Config, Method, Speakers
from dsnet_plugin import DisentangleConfig, DisentangleHead, DisentangleOutput, NeutralReferences, neutral_pass


class DSNet(Method):
    """C(P_er(E(x))), trained on eq. 10; no gradient clipping, as in the authors' public code.

    With ``reference="difference"`` P_er sees E(x) less the features of a neutral utterance of the speaker, in inference, too, or
    less their estimate where there is none: see :class:`dsnet_plugin.DisentangleConfig`.

    Args:
        encoder: E, with ``num_features``.
        num_classes: the number of emotions.
        strategy: how a speaker's neutral references are chosen.
        references: how many references of a speaker are averaged, see :class:`dsnet_plugin.NeutralReferences`.
        config: the fields of a :class:`DisentangleConfig`.
    """

    name = "dsnet"
    needs_neutral = True

    def __init__(
        self, encoder: Any, num_classes: int, strategy: Any = "random", references: int = 1, **config: Any
    ) -> None:
        super().__init__(encoder, num_classes)
        self.strategy = strategy
        self.references = references
        self.head = DisentangleHead(encoder.num_features, num_classes, DisentangleConfig(**config))
        self.neutral_in_inference = self.neutral_optional = self.adapts = self.head.config.reference != "none"

    def forward(
        self,
        inputs: Tensor,
        labels: Tensor | None = None,
        neutral: Tensor | None = None,
        neutral_index: Tensor | None = None,
        neutral_mask: Tensor | None = None,
    ) -> Tensor | DisentangleOutput:
        """Inputs (N, 3, T, 80) to logits, with labels to a :class:`DisentangleOutput`.

        ``neutral`` holds the inputs of K distinct references, (K, 3, T, 80); see :meth:`DisentangleHead.forward` for the
        other two. The references have a pass of their own, see :func:`dsnet_plugin.neutral_pass`.
        """
        h, h_n = self.encode(inputs, neutral)
        output: Tensor | DisentangleOutput = self.head(h, labels, h_n, neutral_index, neutral_mask)
        return output

    def encode(self, inputs: Tensor, neutral: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The features h (N, D) of the labelled utterances, and h_n (K, D) of the references, if there are any."""
        h_n = None if neutral is None else neutral_pass(self.encoder, lambda: self.encoder(neutral))
        return self.encoder(inputs), h_n

    def pairing(self, speakers: Speakers) -> NeutralReferences:
        """The references of each speaker, which are left out of the training set (section 4.2)."""
        return NeutralReferences(
            speakers.names,
            speakers.neutral,
            self.strategy,
            self.references,
            speakers.seed,
            speakers.missing,
            speakers.features() if self.strategy == "medoid" else None,
        )

    def spaces(self, inputs: Any, neutral: Any = None, **which: Tensor) -> dict[str, Tensor]:
        """h and the two subspaces."""
        h, h_n = self.encode(inputs, neutral)
        z_er, z_ei = self.head.spaces(h, h_n, **which)
        return {"h": h, "z_er": z_er, "z_ei": z_ei}

    def config(self) -> Config:
        """The choice of references and the head's :class:`DisentangleConfig`."""
        return {"strategy": self.strategy, "references": self.references, **asdict(self.head.config)}

    def inference_modules(self) -> list[nn.Module]:
        """E, P_er and C: the restorer is there for training alone, and P_ei where no reference is asked for."""
        narrow = [] if self.head.narrow is None else [self.head.narrow]
        estimator = [self.head.p_ei] if self.head.config.reference != "none" else []
        return [self.encoder, *narrow, *estimator, self.head.p_er, self.head.classifier]
