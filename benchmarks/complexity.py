"""Parameters and MACs of a method in training and in inference: on the paper's CNN as its Table 3 counts, with THOP."""

import copy
from dataclasses import dataclass

import torch
from thop import profile
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from backbones import create_encoder, num_samples
from backbones.frontend import NUM_MEL_BINS
from benchmarks.corpora import EMOTIONS
from benchmarks.methods import create_method

PAPER_TABLE_3 = {"baseline": (1.23, 1.98, 1.23, 1.98), "dsnet": (1.63, 3.95, 1.33, 1.98)}
"""Parameters (M) and MACs (G) in training, then in inference, as the paper prints them."""


@dataclass(frozen=True)
class Complexity:
    """Counts of one method: parameters, and multiply-accumulate operations for one utterance.

    In training an utterance comes with its neutral reference, as in Table 3. On the paper's CNN by THOP's rules:
    convolutions and linear layers without bias, batch norm 4 an element, operations that are no module 0. On any other
    encoder, whose modules THOP need not know, half of torch's floating-point operations: convolutions and matrix products.
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
    """Counts a method on an encoder, for one utterance of ``max_frames`` frames."""
    method = create_method(name, create_encoder(encoder), len(EMOTIONS)).eval()
    if method.encoder.input_kind == "waveform":
        inputs = torch.zeros(1, num_samples(max_frames))
    else:
        inputs = torch.zeros(1, 3, max_frames, NUM_MEL_BINS)
    macs = _thop_macs if encoder == "cnn" else _torch_macs
    labels = torch.zeros(1, dtype=torch.int64)
    return Complexity(
        method=name,
        training_parameters=_parameters([method]),
        training_macs=macs(method, (inputs, labels, inputs) if method.needs_neutral else (inputs, labels)),
        inference_parameters=_parameters(method.inference_modules()),
        inference_macs=macs(method, (inputs,)),
    )


def _parameters(modules: list[nn.Module]) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def _thop_macs(method: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    macs, _ = profile(copy.deepcopy(method), inputs=inputs, verbose=False)  # THOP leaves its counters in the modules
    return int(macs)


def _torch_macs(method: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    # The counter knows no fused attention of the CPU; in its plain form it is two matrix products.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        method(*inputs)
    return int(counter.get_total_flops()) // 2
