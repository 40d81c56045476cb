"""The audio taggers of panns-inference, on waveforms."""

import torch

from benchmarks.wrap_sweep.subject import BATCH_SIZE, NUM_CLASSES, Library, Subject

MODELS = ("Cnn14", "Cnn14_DecisionLevelMax")


def names() -> tuple[str, ...]:
    """The names of the models."""
    import panns_inference.models  # noqa: F401

    return MODELS


def panns_subject(name: str) -> Subject:
    """A tagger of 32 kHz audio; the published width."""
    from panns_inference import models

    spectrogram = {
        "sample_rate": 32_000,
        "window_size": 1024,
        "hop_size": 320,
        "mel_bins": 64,
        "fmin": 50,
        "fmax": 14_000,
    }
    model = getattr(models, name)(**spectrogram, classes_num=NUM_CLASSES)
    return Subject("panns", model, (torch.randn(BATCH_SIZE, 32_000),), 2048)


LIBRARY = Library(names, panns_subject, refused=frozenset({"Cnn14_DecisionLevelMax"}))
"""The second decides for each segment, and takes the highest."""
