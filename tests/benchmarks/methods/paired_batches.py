"""Encoders of each kind, and random batches with neutral references for them."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from backbones import AttentionPool, CNNEncoder, create_encoder

ENCODERS = ["cnn", "timm/resnet18", "wav2vec2"]

FEW_CHANNELS = {"channels": (8, 12, 16, 24), "stem_width": 8}
"""Options of timm's ResNets that leave every layer in its place and a two-hundredth of the parameters."""


class NarrowCNN(CNNEncoder):
    """The paper's encoder, block by block, with few channels."""

    num_features = 32

    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(*[self._block(i, o, 0.2) for i, o in pairwise((3, 8, 12, 16, self.num_features))])
        self.pool = AttentionPool(self.num_features)
        self.reset_parameters()


def make_encoder(name, folder, precision="fp32"):
    """The encoder of that name, ``wav2vec2`` and ``timm/resnet18`` tiny random ones; the first is written into the folder.

    ``cnn`` is the paper's, but in bf16 a narrow one: a CPU that lacks bf16 computes it in minutes.
    """
    torch.manual_seed(0)
    if name == "cnn" and precision == "bf16":
        return NarrowCNN()
    if name == "wav2vec2":
        tiny_speech_models = pytest.importorskip("tests.backbones.tiny_speech_models")
        return create_encoder(f"hf/{tiny_speech_models.save_tiny(folder / name, name)}")
    if name == "timm/resnet18":
        pytest.importorskip("timm")
        return create_encoder(name, **FEW_CHANNELS)
    return create_encoder(name)


def random_inputs(encoder, rows, seed):
    """Inputs of so many utterances; waveforms are of different lengths and padded."""
    generator = torch.Generator().manual_seed(seed)
    if encoder.input_kind == "lmfb":
        return torch.randn(rows, 3, 32, 80, generator=generator)
    lengths = torch.arange(rows) % 3 * 100 + 800
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    return {"waveform": torch.randn(mask.shape, generator=generator) * mask, "mask": mask}


def make_batch(encoder, index, mask=None, seed=0):
    """A batch with labels 0 to 3 in turn and references as ``index`` (N,) or (N, k) and ``mask`` (N,) say."""
    index = torch.tensor(index)
    return {
        "inputs": random_inputs(encoder, len(index), seed),
        "labels": torch.arange(len(index)) % 4,
        "neutral": random_inputs(encoder, int(index.max()) + 1, seed + 1),
        "neutral_index": index,
        "neutral_mask": torch.ones(len(index), dtype=torch.bool) if mask is None else torch.tensor(mask),
    }


def rows_encoded(encoder, call):
    """How many rows an encoder sees in each of its passes during a call."""
    rows = []
    hook = encoder.register_forward_pre_hook(lambda _, arguments: rows.append(len(arguments[0])))
    try:
        call()
    finally:
        hook.remove()
    return rows
