"""Models of torchvision."""

import importlib
from typing import Any

import torch

from benchmarks.wrap_sweep.subject import BATCH_SIZE, NUM_CLASSES, Library, Subject
from dsnet_plugin import DisentangleConfig

MODELS = {  # the width of the features in front of the classifier block
    "alexnet": 9216,
    "convnext_tiny": 768,
    "densenet121": 1024,
    "efficientnet_b0": 1280,
    "googlenet": 1024,
    "mnasnet0_5": 1280,
    "mobilenet_v3_small": 576,
    "regnet_y_400mf": 440,
    "resnet18": 512,
    "shufflenet_v2_x0_5": 1024,
    "swin_t": 768,
    "vgg11": 25088,
    "vit_b_32": 768,
}

NARROWED = ("alexnet", "vgg11")
"""Flattened maps, too wide for a head: their features are narrowed first, as the refusal says."""


def torchvision_subject(name: str) -> Subject:
    """A torchvision model; the width is written down in ``MODELS``."""
    models: Any = importlib.import_module("torchvision.models")
    model = models.get_model(name, num_classes=NUM_CLASSES)
    size = 224 if name.startswith(("vit", "swin")) else 96
    images = torch.randn(BATCH_SIZE, 3, size, size)
    config = DisentangleConfig(narrow_to=256 if name in NARROWED else None)
    return Subject("torchvision", model, {"x": images}, MODELS[name], config)


def names() -> tuple[str, ...]:
    """The names of the models."""
    import torchvision  # noqa: F401

    return tuple(MODELS)


LIBRARY = Library(names, torchvision_subject)
