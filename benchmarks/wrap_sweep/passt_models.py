"""The patchout transformers of hear21passt, on log-mel patches."""

import contextlib
import os

import torch

from benchmarks.wrap_sweep.subject import BATCH_SIZE, NUM_CLASSES, Library, Subject

MODELS = ("passt_deit_bd_p16_384", "passt_s_swa_p16_128_ap476", "passt_s_p16_s16_128_ap468")


def names() -> tuple[str, ...]:
    """The names of the models."""
    import hear21passt.models.passt  # noqa: F401

    return MODELS


def passt_subject(name: str) -> Subject:
    """A transformer of the published width, for two seconds."""
    from hear21passt.models.passt import get_model

    stride = 16 if "s16" in name else 10
    shape = {"input_fdim": 128, "input_tdim": 200, "fstride": stride, "tstride": stride}
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):  # it prints the model
        model = get_model(name, pretrained=False, n_classes=NUM_CLASSES, **shape)
    return Subject("passt", model, (torch.randn(BATCH_SIZE, 1, 128, 200),), 768)


LIBRARY = Library(names, passt_subject)
