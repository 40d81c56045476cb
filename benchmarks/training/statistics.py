"""Batch-norm statistics of the training side under the present weights, before a model is judged or saved."""

import torch
from accelerate import Accelerator

from benchmarks.data import FoldSide
from benchmarks.methods import Method
from benchmarks.training.settings import TrainingSettings, derive_seed
from dsnet_plugin import recompute_batch_norm

STATISTICS_UTTERANCES = 160
"""Training utterances that the statistics are computed of: more change no score, see ``benchmarks.studies.batch_norm``."""


def fit_statistics(
    method: Method,
    side: FoldSide,
    epoch: int,
    settings: TrainingSettings,
    accelerator: Accelerator,
    utterances: int = STATISTICS_UTTERANCES,
) -> None:
    """Recomputes what the method's batch norms hold of a sample of a side, see :func:`dsnet_plugin.recompute_batch_norm`.

    The sample is drawn from the utterances that this epoch trains on, by a seed of its own, so that no other draw changes.
    A method that takes neutral speech in inference is given it as there; the parts that serve training alone keep theirs.

    Args:
        method: in training mode.
        side: the training side.
        epoch: from 0.
        settings: batch size and seed.
        accelerator: precision.
        utterances: at most so many.
    """
    places = side.training_places(epoch)
    draw = torch.Generator().manual_seed(derive_seed(settings.seed, "statistics", epoch))
    order = torch.randperm(len(places), generator=draw)[:utterances]
    batches = [batch for batch in torch.split(torch.tensor(places)[order], settings.batch_size) if len(batch) > 1]
    with accelerator.autocast():
        recompute_batch_norm(method, (side.unlabelled(batch.tolist()) for batch in batches))
