"""Parameters and MACs of a method in training and in inference: on the paper's CNN as its Table 3 counts, with THOP."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import gcd

import torch
from torch import Tensor, nn

from backbones import FeatureEncoder, num_samples
from backbones.frontend import NUM_MEL_BINS
from benchmarks.corpora import EMOTIONS
from benchmarks.cost.macs import thop_macs, torch_macs
from benchmarks.data import PAPERS_CNN, EncoderSpec
from benchmarks.data.front_end import frozen_encoder, trainable_encoder
from benchmarks.methods import Batch, Losses, Method, Speakers, create_method, method_class
from benchmarks.output.formats import terminal
from benchmarks.output.table import Table
from benchmarks.training import TrainingSettings

PAPER_TABLE_3 = {
    "baseline": (1.23, 1.98, 1.23, 1.98),
    "dsc": (2.44, 3.95, 2.44, 3.95),
    "isnet": (2.56, 17.78, 1.33, 1.98),
    "dsnet": (1.63, 3.95, 1.33, 1.98),
}
"""Parameters (M) and MACs (G) in training, then in inference, as the paper prints them."""

NUM_SPEAKERS = 8
"""Training speakers wherever a method is counted or timed: eight, as in a fold of IEMOCAP's ten."""


@dataclass(frozen=True)
class Complexity:
    """Counts of one method: parameters, and multiply-accumulate operations for one utterance.

    In training an utterance comes with references of its own, as in Table 3, and with its share of the target's utterances
    where a batch has some; it is counted once for each of the method's phases. On the paper's CNN THOP's rules hold:
    convolutions and linear layers count without bias, batch norm as 4 an element, operations outside modules as 0. THOP need
    not know the modules of any other encoder; there half of torch's floating-point operations count, those of convolutions
    and matrix products.
    """

    method: str
    """The method's name."""

    training_parameters: int
    """Parameters in training."""

    training_macs: int
    """Operations of a training step, forward, for one utterance."""

    inference_parameters: int
    """Parameters of what runs in inference."""

    inference_macs: int
    """Operations of inference for one utterance."""

    def in_table_3_units(self) -> tuple[float, float, float, float]:
        """Millions of parameters and giga-MACs, in the columns' order of Table 3."""
        return (
            self.training_parameters / 1e6,
            self.training_macs / 1e9,
            self.inference_parameters / 1e6,
            self.inference_macs / 1e9,
        )


def measure(
    name: str, spec: EncoderSpec = PAPERS_CNN, max_frames: int = 600, config: Mapping[str, object] | None = None
) -> Complexity:
    """Counts a method on an encoder, for one utterance of ``max_frames`` frames.

    A frozen encoder, which runs once however long the training is, counts in inference alone.

    Args:
        name: a name of ``METHODS`` or ``VARIANTS``.
        spec: the encoder.
        max_frames: frames of 10 ms.
        config: the settings in which the method differs from its defaults.
    """
    speakers = {"num_speakers": NUM_SPEAKERS} if method_class(name).needs_speakers else {}
    frozen = frozen_encoder(spec).cpu() if spec.is_frozen else None  # it may have encoded on a GPU
    method = create_method(name, trainable_encoder(spec), len(EMOTIONS), **{**(config or {}), **speakers}).eval()
    macs = thop_macs if spec == PAPERS_CNN else _torch_macs
    batch = _training_batch(method, max_frames)
    utterance = _rows(method, 1, max_frames, method.neutral_in_inference)
    encodings = 1 + method.neutral_in_inference
    return Complexity(
        method=name,
        training_parameters=_parameters([method]),
        training_macs=macs(method, lambda counted: _train(counted, batch)) // len(batch["labels"]),
        inference_parameters=_parameters([*method.inference_modules(), *([frozen] if frozen else [])]),
        inference_macs=macs(method, lambda counted: counted(**utterance))
        + (encodings * torch_macs(lambda: frozen(_input(frozen.input_kind, 1, max_frames))) if frozen else 0),
    )


def counts_table(counts: Sequence[Complexity], beside_paper: bool = True) -> str:
    """Table 3: the counts, and in brackets what the paper prints for its CNN and four methods."""
    rows = []
    for count in counts:
        row = [
            f"{count.training_parameters:,}",
            f"{count.training_macs / 1e9:.4f}G",
            f"{count.inference_parameters:,}",
            f"{count.inference_macs / 1e9:.4f}G",
        ]
        if beside_paper and (printed := PAPER_TABLE_3.get(count.method)):
            row = [f"{counted} ({paper:.2f}{unit})" for counted, paper, unit in zip(row, printed, "MGMG", strict=True)]
        rows.append([count.method, *row])
    header = ["method", "training params", "training MACs", "inference params", "inference MACs"]
    return terminal(Table(header, rows))


class _Untrained:
    """A :class:`benchmarks.methods.Step` that moves nothing."""

    progress = 0.0

    def __init__(self, phase: str) -> None:
        self.phase = phase

    def update(self, loss: Tensor, *groups: Iterable[nn.Parameter]) -> None:
        pass

    def watch(self, losses: Losses) -> None:
        pass


def _train(method: Method, batch: Batch) -> None:
    for phase in method.phases:
        method.training_step(batch, _Untrained(phase))


def _training_batch(method: Method, max_frames: int) -> Batch:
    """One labelled utterance, or the fewest that go with a whole number of the target's utterances."""
    batch_size = TrainingSettings().batch_size
    parts = gcd(batch_size, method.target_rows)
    rows = batch_size // parts
    batch = _rows(method, rows, max_frames, method.needs_neutral)
    batch["labels"] = torch.zeros(rows, dtype=torch.int64)
    if method.needs_speakers:
        batch["speakers"] = torch.arange(rows) % NUM_SPEAKERS
    if method.target_rows:
        batch["target"] = _silence(method, method.target_rows // parts, max_frames)
    return batch


def _rows(method: Method, rows: int, max_frames: int, with_neutral: bool) -> Batch:
    """One utterance of each of so many speakers, beside the references that the method chooses."""
    batch: Batch = {"inputs": _silence(method, rows, max_frames)}
    if with_neutral:
        neutral = [False, *[True] * 8]
        names = [f"speaker {row}" for row in range(rows) for _ in neutral]
        speakers = Speakers(names, neutral * rows, lambda: torch.zeros(len(names), 1), "error", seed=0)
        references = method.pairing(speakers)
        assert references is not None
        chosen = references.batch([row * len(neutral) for row in range(rows)])
        batch["neutral"] = _silence(method, len(chosen.references), max_frames)
        batch |= {"neutral_index": chosen.neutral_index, "neutral_mask": chosen.neutral_mask}
    return batch


def _silence(method: Method, rows: int, max_frames: int) -> Tensor:
    if isinstance(method.encoder, FeatureEncoder):
        return torch.zeros(rows, *method.encoder.blueprint.values())
    return _input(method.encoder.input_kind, rows, max_frames)


def _input(kind: str, rows: int, max_frames: int) -> Tensor:
    if kind == "waveform":
        return torch.zeros(rows, num_samples(max_frames))
    return torch.zeros(rows, 3, max_frames, NUM_MEL_BINS)


def _parameters(modules: list[nn.Module]) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def _torch_macs(method: Method, run: Callable[[Method], object]) -> int:
    with torch.no_grad():
        return torch_macs(lambda: run(method))
