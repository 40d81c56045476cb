"""The plain remedy for a speaker who was never heard: one neutral sentence of theirs, subtracted from what the encoder sees."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.methods.base import Method, MethodOutput, Speakers
from dsnet_plugin import Classifier, ConfigError, NeutralReferences


class Subtraction(Method):
    """C(E(x - m)), m the mean of a neutral utterance of the speaker, in training and in inference; gradients clipped at norm 10.

    It is what anyone would try before a method: features standardised by the speaker. For log-mel features m is the mean over the
    utterance's frames, as in cepstral mean normalisation; an utterance that a frozen encoder has encoded is a mean already. The
    deviation is left alone, since one utterance does not give it. An utterance without neutral speech is taken as it is.

    Args:
        encoder: E, with ``num_features``, on log-mel or encoded input.
        num_classes: the number of emotions.

    Raises:
        ConfigError: an encoder that takes waveforms, in which a mean says nothing of the speaker.
    """

    name = "subtraction"
    needs_neutral = True
    neutral_in_inference = True
    adapts = True
    clip_norm = 10.0

    def __init__(self, encoder: Any, num_classes: int) -> None:
        super().__init__(encoder, num_classes)
        if encoder.input_kind == "waveform":
            raise ConfigError(
                "subtraction acts on features, and this encoder takes waveforms; freeze it (--encoder-option freeze=all), or "
                "use another encoder"
            )
        self.classifier = Classifier(encoder.num_features, num_classes)

    def forward(
        self,
        inputs: Tensor,
        labels: Tensor | None = None,
        neutral: Tensor | None = None,
        neutral_index: Tensor | None = None,
        neutral_mask: Tensor | None = None,
    ) -> Tensor | MethodOutput:
        """Inputs (N, 3, T, 80) or (N, L, D) to logits, with labels (N,) to a :class:`MethodOutput`.

        ``neutral`` holds one reference a row, or with ``neutral_index``, (N,) or (N, k), K distinct ones, of which k are averaged;
        ``neutral_mask`` (N,) is False for rows without one.
        """
        less = less_reference(inputs, self.encoder.input_kind, neutral, neutral_index, neutral_mask)
        logits: Tensor = self.classifier(self.encoder(less))
        if labels is None:
            return logits
        task = F.cross_entropy(logits.float(), labels)
        return MethodOutput(task, logits, {"task": task})

    def pairing(self, speakers: Speakers) -> NeutralReferences:
        """DSNet's references, which are left out of the training set."""
        return NeutralReferences(speakers.names, speakers.neutral, seed=speakers.seed, missing=speakers.missing)

    def spaces(self, inputs: Tensor, **neutral: Tensor) -> dict[str, Tensor]:
        """h, the features of what is left."""
        return {"h": self.encoder(less_reference(inputs, self.encoder.input_kind, **neutral))}


def less_reference(
    inputs: Tensor,
    input_kind: str,
    neutral: Tensor | None = None,
    neutral_index: Tensor | None = None,
    neutral_mask: Tensor | None = None,
) -> Tensor:
    """The inputs of an encoder, each less the mean of its speaker's reference; arguments are those of :meth:`Subtraction.forward`."""
    if neutral is None:
        return inputs
    means = neutral if input_kind == "encoded" else neutral.mean(-2, keepdim=True)
    if neutral_index is not None:
        means = means[neutral_index] if neutral_index.dim() == 1 else means[neutral_index].mean(1)
    if neutral_mask is not None:
        means = torch.where(neutral_mask.reshape(-1, *[1] * (means.dim() - 1)), means, torch.zeros_like(means))
    return inputs - means
