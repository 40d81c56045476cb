"""Batch-norm statistics of the training side under the present weights, before a model is judged or saved."""

import torch
from accelerate import Accelerator

from benchmarks.data import FoldSide
from benchmarks.methods import Method
from benchmarks.training.settings import TrainingSettings, derive_seed
from dsnet_plugin import recompute_batch_norm

STATISTICS_UTTERANCES = 256
"""Training utterances that the statistics are computed of; ``benchmarks.studies.batch_norm`` compares them with all."""


def fit_statistics(
    method: Method,
    side: FoldSide,
    epoch: int,
    settings: TrainingSettings,
    accelerator: Accelerator,
    utterances: int = STATISTICS_UTTERANCES,
) -> None:
    """Computes the method's batch-norm statistics anew from a sample of a side, see
    :func:`dsnet_plugin.recompute_batch_norm`.

    The sample is drawn from the utterances that this epoch trains on, by a seed of its own, so that no other draw changes.
    It and each of its batches have as much of every class and speaker as the side has, give or take an utterance: a random
    sample of the same size is further from the statistics of all.

    A method that takes neutral speech in inference gets it here, too; modules that serve training alone keep their
    statistics.

    Args:
        method: the method, in training mode.
        side: the training side.
        epoch: the number of the epoch, from 0.
        settings: the batch size and the seed.
        accelerator: the precision.
        utterances: the most utterances in the sample.
    """
    draw = torch.Generator().manual_seed(derive_seed(settings.seed, "statistics", epoch))
    batches = _balanced_batches(side, epoch, utterances, settings.batch_size, draw)
    with accelerator.autocast():
        recompute_batch_norm(method, (side.unlabelled(places) for places in batches))


def _balanced_batches(
    side: FoldSide, epoch: int, utterances: int, batch_size: int, draw: torch.Generator
) -> list[list[int]]:
    """A sample of the places to train on, in batches: every n-th place in the order of class and speaker."""
    places = torch.tensor(side.training_places(epoch))
    shuffled = places[torch.randperm(len(places), generator=draw)].tolist()
    # Sorting keeps the random order within a speaker's utterances of one class.
    ordered = sorted(shuffled, key=lambda place: (int(side.data.labels[side.indices[place]]), side.names[place]))
    size = min(utterances, len(ordered))
    sample = [ordered[i * len(ordered) // size] for i in range(size)]
    number = -(-size // batch_size)
    return [batch for i in range(number) if len(batch := sample[i::number]) > 1]
