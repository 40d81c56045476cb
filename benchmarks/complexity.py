"""Parameters and MACs of a method in training and in inference, counted as the paper's Table 3 does, with THOP."""

import copy
from dataclasses import dataclass

import torch
from thop import profile
from torch import Tensor, nn

from backbones import create_encoder
from backbones.frontend import NUM_MEL_BINS
from benchmarks.corpora import EMOTIONS
from benchmarks.methods import create_method

PAPER_TABLE_3 = {"baseline": (1.23, 1.98, 1.23, 1.98), "dsnet": (1.63, 3.95, 1.33, 1.98)}
"""Parameters (M) and MACs (G) in training, then in inference, as the paper prints them."""


@dataclass(frozen=True)
class Complexity:
    """Counts of one method: parameters, and multiply-accumulate operations for one utterance.

    In training an utterance comes with its neutral reference, as in Table 3. THOP's rules: convolutions and linear layers
    without bias, batch norm 4 an element, operations that are no module 0.
    """

    method: str
    training_parameters: int
    training_macs: int
    inference_parameters: int
    inference_macs: int

    def in_table_3_units(self) -> tuple[float, float, float, float]:
        """Millions of parameters and giga-MACs, in the columns' order of Table 3."""
        return (
            self.training_parameters / 1e6,
            self.training_macs / 1e9,
            self.inference_parameters / 1e6,
            self.inference_macs / 1e9,
        )


def measure(name: str, encoder: str = "cnn", max_frames: int = 600) -> Complexity:
    """Counts a method on an encoder, for one input of shape (3, ``max_frames``, 80)."""
    method = create_method(name, create_encoder(encoder), len(EMOTIONS)).eval()
    inputs = torch.zeros(1, 3, max_frames, NUM_MEL_BINS)
    labels = torch.zeros(1, dtype=torch.int64)
    return Complexity(
        method=name,
        training_parameters=_parameters([method]),
        training_macs=_macs(method, (inputs, labels, inputs) if method.needs_neutral else (inputs, labels)),
        inference_parameters=_parameters(method.inference_modules()),
        inference_macs=_macs(method, (inputs,)),
    )


def _parameters(modules: list[nn.Module]) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def _macs(method: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    macs, _ = profile(copy.deepcopy(method), inputs=inputs, verbose=False)  # THOP leaves its counters in the modules
    return int(macs)
