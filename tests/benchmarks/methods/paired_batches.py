"""Encoders of each kind, and random batches with neutral references for them."""

import pytest
import torch

from backbones import create_encoder

ENCODERS = ["cnn", "timm/resnet18", "wav2vec2"]


def make_encoder(name, folder):
    """The encoder of that name; ``wav2vec2`` is a tiny random one, written into the folder."""
    torch.manual_seed(0)
    if name == "wav2vec2":
        tiny_speech_models = pytest.importorskip("tests.backbones.tiny_speech_models")
        return create_encoder(f"hf/{tiny_speech_models.save_tiny(folder / name, name)}")
    if name.startswith("timm/"):
        pytest.importorskip("timm")
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
