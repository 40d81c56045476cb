"""What is trained on a frozen encoder: a weighting of its hidden states and a projection, which play E."""

import torch
from torch import Tensor, nn


class FeatureEncoder(nn.Module):
    """The encoder E of utterances that a :class:`FrozenEncoder` has encoded.

    Each hidden state is normalised over its D values, since a model's layers differ in scale; a softmax over L learned numbers
    weights them; then come Linear(D, 256), batch norm, ReLU and dropout, so that h can learn what the frozen features leave
    open and has the width of the paper's encoder. ``blueprint`` is what builds it again.

    Args:
        states: L, the number of hidden states of an utterance; with one there is nothing to weight.
        width: D of each.
        num_features: the width of h.
        dropout: the rate of dropout behind the ReLU.

    Shape:
        (N, L, D) to (N, ``num_features``).
    """

    input_kind = "encoded"

    def __init__(self, states: int, width: int, num_features: int = 256, dropout: float = 0.2) -> None:
        super().__init__()
        self.blueprint = {"states": states, "width": width}
        self.num_features = num_features
        self.layer_weights = nn.Parameter(torch.zeros(states)) if states > 1 else None
        self.projection = nn.Sequential(
            nn.Linear(width, num_features), nn.BatchNorm1d(num_features), nn.ReLU(), nn.Dropout(dropout)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Encoded utterances (N, L, D) to h (N, ``num_features``)."""
        x = nn.functional.layer_norm(inputs, inputs.shape[-1:])
        x = x[:, 0] if self.layer_weights is None else torch.einsum("l,nld->nd", self.layer_weights.softmax(0), x)
        h: Tensor = self.projection(x)
        return h

    def reset_parameters(self) -> None:
        """Draws all weights anew."""
        if self.layer_weights is not None:
            nn.init.zeros_(self.layer_weights)
        for module in self.projection:
            if isinstance(module, nn.Linear | nn.BatchNorm1d):
                module.reset_parameters()
