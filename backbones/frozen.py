"""An encoder that is not trained, so that each utterance is encoded once and for all."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from backbones.hf_encoder import HFEncoder
from dsnet_plugin.digests import digests

_VERSION = 1
"""Part of the digest: change it with what an encoder of the same weights computes."""


class FrozenEncoder(nn.Module):
    """A pretrained encoder in eval mode, up to the features that nothing trained on top of it can change.

    ``states`` (L) and ``width`` (D) are the shape of an encoded utterance. An :class:`HFEncoder` with
    ``layer_weights`` gives all its hidden states, each pooled over time; any other encoder gives one vector.
    ``digest`` names all that the result depends on, weights and settings, in 16 hexadecimal digits; where the weights
    lie does not matter. A :class:`FeatureEncoder` learns on top.

    Args:
        encoder: an encoder whose parameters are all frozen.

    Shape:
        Inputs of the encoder's ``input_kind`` to (N, L, D), in float32.
    """

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder.eval().requires_grad_(False)
        self.input_kind: str = encoder.input_kind
        self.width: int = encoder.num_features
        weighted = isinstance(encoder, HFEncoder) and encoder.layer_weights is not None
        self.states: int = len(encoder.layer_weights) if weighted else 1
        weights = {k: v for k, v in encoder.state_dict().items() if k != "layer_weights"}
        what = [_VERSION, type(encoder).__name__, encoder.recipe, self.states, digests(weights.items())]
        self.digest = hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def train(self, mode: bool = True) -> "FrozenEncoder":
        """Stays in eval mode, whatever is asked for."""
        return super().train(False)

    def forward(self, inputs: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Inputs of N utterances to (N, L, D)."""
        if isinstance(self.encoder, HFEncoder):
            return self.encoder.pooled_states(inputs).float()
        h: Tensor = self.encoder(inputs)
        return h[:, None].float()
