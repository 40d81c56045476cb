"""A model that takes a reference, in the form in which a file holds it: every input and every output is a tensor."""

import torch
from torch import Tensor, nn

from dsnet_plugin import DisentangleHead


class ReferredModel(nn.Module):
    """Encoder, P_ei, P_er and C of a model with ``DisentangleConfig(reference="difference")``.

    It gives the features of what it hears beside the logits. Those of a neutral sentence are what it takes as the reference of
    further utterances, so that one file enrols and recognises; of several sentences their mean.

    Args:
        encoder: gives features h (N, D).
        head: the trained head, whose restorer is left out.
    """

    def __init__(self, encoder: nn.Module, head: DisentangleHead) -> None:
        super().__init__()
        self.encoder = encoder
        self.narrow = nn.Identity() if head.narrow is None else head.narrow
        self.p_ei, self.p_er, self.classifier = head.p_ei, head.p_er, head.classifier

    def forward(self, inputs: Tensor, neutral_features: Tensor, neutral_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, num_classes) and features (N, D).

        Args:
            inputs: those of the encoder.
            neutral_features: h_n, the reference of each row, shape (N, D).
            neutral_mask: shape (N,), False where a row has no reference; what ``neutral_features`` holds there is ignored.
        """
        h = self.encoder(inputs)
        narrowed = self.narrow(h)
        reference = torch.where(neutral_mask[:, None], self.narrow(neutral_features), self.p_ei(narrowed))
        return self.classifier(self.p_er(narrowed - reference)), h
