"""The paper's acoustic encoder (section 3.1, Table 1)."""

from itertools import pairwise

from torch import Tensor, nn

from backbones.dropout import Dropout
from backbones.frontend import NUM_MEL_BINS
from backbones.pooling import AttentionPool
from dsnet_plugin.errors import ShapeError

_CHANNELS = (3, 32, 64, 128, 256)


class CNNEncoder(nn.Module):
    """E of the paper: batch norm over mel bins, four convolution blocks, mean over frequency, attention over time.

    1,210,304 parameters; each block is Conv 5x5 without bias, BN, ReLU, MaxPool 2x2 and dropout, with 32, 64, 128 and
    256 channels.

    Args:
        dropout: rate after each block (0.2 in the authors' public code; the paper gives none).

    Shape:
        (N, 3, T, 80), T at least 16, to (N, 256), each value between 0 and 1.

    Raises:
        ShapeError: when called on another shape.
    """

    num_features = _CHANNELS[-1]
    input_kind = "lmfb"

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.mel_norm = nn.BatchNorm2d(NUM_MEL_BINS)
        self.blocks = nn.Sequential(*[self._block(i, o, dropout) for i, o in pairwise(_CHANNELS)])
        self.pool = AttentionPool(self.num_features)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws all weights anew: convolutions Xavier-uniform with zero biases, batch norms as the identity."""
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()

    @staticmethod
    def _block(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel_size=5, padding=2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),  # the two commute; in this order there is a quarter to rectify
            Dropout(dropout),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Log-mel features with deltas (N, 3, T, 80) to h (N, 256)."""
        if inputs.dim() != 4 or inputs.shape[1] != _CHANNELS[0] or inputs.shape[3] != NUM_MEL_BINS:
            raise ShapeError(f"inputs have shape {tuple(inputs.shape)}; expected (N, 3, T, {NUM_MEL_BINS})")
        if inputs.shape[2] < 16:
            raise ShapeError(f"{inputs.shape[2]} frames; four 2x2 poolings need at least 16 (fit_frames repeats them)")
        # BatchNorm2d pools over all but its second dimension, hence bins there: (N, 80, 3, T) and back.
        x = self.mel_norm(inputs.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = self.blocks(x)
        h: Tensor = self.pool(x.mean(dim=3))
        return h
