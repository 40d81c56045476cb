"""What a trained method does on utterances that it was not trained on: predictions, and what its feature spaces hold."""

import torch
from accelerate import Accelerator
from torch import Tensor

from benchmarks.data import FoldSide
from benchmarks.methods import Method


def predict(method: Method, side: FoldSide, batch_size: int, accelerator: Accelerator) -> Tensor:
    """Class probabilities of a side's utterances, shape (utterances, classes), on the CPU."""
    method.eval()
    with torch.inference_mode(), accelerator.autocast():
        logits = [method(**side.unlabelled(places)) for places in _batches(side, batch_size)]
        return torch.cat(logits).float().softmax(1).cpu()


def spaces(method: Method, side: FoldSide, batch_size: int, accelerator: Accelerator) -> dict[str, Tensor]:
    """The method's feature spaces for a side's utterances, each (utterances, D), on the CPU."""
    method.eval()
    with torch.inference_mode(), accelerator.autocast():
        by_batch = [method.spaces(**side.unlabelled(places)) for places in _batches(side, batch_size)]
        return {name: torch.cat([features[name] for features in by_batch]).float().cpu() for name in by_batch[0]}


def _batches(side: FoldSide, batch_size: int) -> list[list[int]]:
    return [list(range(i, min(i + batch_size, len(side.indices)))) for i in range(0, len(side.indices), batch_size)]
