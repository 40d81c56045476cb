"""The downstream models of s3prl, on hidden states of shape (N, frames, D) and their lengths."""

from typing import Any

import torch

from benchmarks.wrap_sweep.subject import BATCH_SIZE, NUM_CLASSES, Library, Subject

WIDTHS = {"CNNSelfAttention": 24, "FCN": 256, "DeepNet": 80, "MeanPooling": 32, "AttentivePooling": 32, "FrameLevel": 0}
"""The width of an utterance's features."""


def names() -> tuple[str, ...]:
    """The names of the models."""
    import s3prl.downstream.model  # noqa: F401

    return tuple(WIDTHS)


def s3prl_subject(name: str) -> Subject:
    """The emotion models of SUPERB, and its linear probe behind two kinds of pooling; a model of frames."""
    from s3prl.downstream.emotion.model import DeepModel
    from s3prl.downstream.model import FrameLevel, UtteranceLevel

    inputs = torch.randn(BATCH_SIZE, 160, 32), torch.tensor([160, 120])
    model: Any
    if name.endswith("Pooling"):
        model = UtteranceLevel(32, NUM_CLASSES, pooling=name)
    elif name == "FrameLevel":
        model = FrameLevel(32, NUM_CLASSES, hiddens=[24])
    else:
        options = {"hidden_dim": 24, "kernel_size": 5, "padding": 2, "pooling": 5, "dropout": 0.2}
        model = DeepModel(32, NUM_CLASSES, name, **options)
    return Subject("s3prl", model, inputs, WIDTHS[name])


LIBRARY = Library(names, s3prl_subject, refused=frozenset({"FrameLevel"}))
