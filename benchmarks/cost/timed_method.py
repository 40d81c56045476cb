"""A method in the training loop and in inference, with marks on the time that both take."""

import statistics
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from backbones import create_encoder, num_samples
from backbones.frontend import NUM_MEL_BINS
from benchmarks.corpora import EMOTIONS, Utterance
from benchmarks.cost.clock import Clock
from benchmarks.cost.complexity import NUM_SPEAKERS
from benchmarks.cost.macs import torch_macs
from benchmarks.cost.memory import growth, size
from benchmarks.data import Fold, FoldSide, SpeechData
from benchmarks.errors import RunError
from benchmarks.methods import Batch, Config, Losses, Step
from benchmarks.training import TrainingSettings
from benchmarks.training.adam import AdamStep, make_adam
from benchmarks.training.batch_norm_statistics import fit_statistics
from benchmarks.training.device import compile_encoder, put_on_device
from benchmarks.training.fit import make_method, train_epoch, training_step

_TEST_UTTERANCES = 16
_CALLS = 3
_NEUTRAL = EMOTIONS.index("neutral")


class TimedMethod:
    """A method that is trained as :func:`benchmarks.training.fit.fit` does it, in the same loop, and infers as in testing.

    Args:
        name: the method's name.
        config: its settings.
        data: the corpus of :func:`random_data`.
        fold: the fold of :func:`random_data`.
        settings: encoder, batch size, frames, precision.
        accelerator: device and precision.

    Raises:
        DSNetError: a name or settings that are not known.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        data: SpeechData,
        fold: Fold,
        settings: TrainingSettings,
        accelerator: Accelerator,
    ) -> None:
        self.settings = settings
        self.clock = Clock(accelerator.device)
        self.method = make_method(name, config, data, fold, settings)
        put_on_device(self.method, accelerator.device)
        self.side = FoldSide(data, fold.train, self.method, settings.missing_neutral, settings.seed, fold.test)
        self.step = AdamStep(self.method, make_adam(self.method, settings.learning_rate), accelerator)
        self.batch = next(self.side.epoch(1, settings.batch_size))
        self.macs = torch_macs(self._train_on_batch)
        if settings.compile:
            compile_encoder(self.method)  # only now: the counter does not see into compiled code
        testing = FoldSide(data, fold.train, self.method, seed=settings.seed)
        self.utterance = testing.unlabelled([0])
        self.utterances = testing.unlabelled(range(settings.batch_size))
        self._marks: list[tuple[str, int, Any, Any]] = []
        self._learn = self.method.training_step
        self.method.training_step = self._marked  # type: ignore[method-assign]

    def round(self) -> dict[str, float]:
        """The seconds that each part of the work on a batch takes.

        ``training`` and its ``outside`` come from :meth:`train`. ``statistics`` is the time that the batch-norm statistics
        of a batch take, ``latency`` that of inference on one utterance, ``inference`` that of inference on a batch.
        """
        training, outside = self.train()
        statistics_seconds = self.clock.seconds(self._compute_statistics)
        latencies = [self.clock.seconds(lambda: self.infer(self.utterance)) for _ in range(_CALLS)]
        batches = self.clock.seconds(lambda: self.infer(self.utterances, _CALLS))
        return {
            "training": training,
            "outside": outside,
            "statistics": statistics_seconds,
            "latency": statistics.median(latencies),
            "inference": batches / _CALLS,
        }

    def train(self) -> tuple[float, float]:
        """An epoch in the training loop, in which no step waits for the device.

        Returns:
            The seconds from the end of one training step to the end of the next, and how many of them pass before the next
            begins, while the loop sums up losses and prepares a batch. Both are medians over full batches, added up over
            the phases.
        """
        self._marks.clear()
        with tqdm(disable=True) as bar:
            train_epoch(self.side, self.step, self.settings, epoch=1, batches=len(self.method.phases), bar=bar)
        self.clock.wait()
        whole: dict[str, list[float]] = {phase: [] for phase in self.method.phases}
        outside: dict[str, list[float]] = {phase: [] for phase in self.method.phases}
        for (_, _, _, previous), (phase, rows, start, end) in pairwise(self._marks):
            if rows == self.settings.batch_size:
                whole[phase].append(self.clock.between(previous, end))
                outside[phase].append(self.clock.between(previous, start))
        return sum(map(statistics.median, whole.values())), sum(map(statistics.median, outside.values()))

    def infer(self, batch: Batch, times: int = 1) -> None:
        """A batch without labels, its tensors ready on the device."""
        self.method.eval()
        with torch.inference_mode(), self.step.accelerator.autocast():
            for _ in range(times):
                self.method(**batch)

    def training_peak(self) -> int:
        """Bytes at the peak of a training step: weights, gradients, moments, the batch, and what comes and goes."""
        held = [self.step.optimizer.state, [p.grad for p in self.method.parameters()], self.batch]
        held += [list(self.method.parameters()), list(self.method.buffers())]
        return size(_tensors(held)) + growth(self._train_on_batch, self.clock.device)

    def inference_peak(self) -> int:
        """Bytes at the peak of a batch's inference: the weights that inference needs, the batch, what comes and goes."""
        modules = self.method.inference_modules()
        held = [self.utterances, [[list(module.parameters()), list(module.buffers())] for module in modules]]
        return size(_tensors(held)) + growth(lambda: self.infer(self.utterances), self.clock.device)

    def _marked(self, batch: Batch, step: Step) -> Losses:
        start = self.clock.mark()
        losses = self._learn(batch, step)
        self._marks.append((step.phase, len(batch["labels"]), start, self.clock.mark()))
        return losses

    def _train_on_batch(self) -> None:
        self.method.train()
        for phase in self.method.phases:
            self.step.phase = phase
            training_step(self.method, self.batch, self.step)

    def _compute_statistics(self) -> None:
        self.method.train()
        fit_statistics(self.method, self.side, 1, self.settings, self.step.accelerator, self.settings.batch_size)


def random_data(settings: TrainingSettings, steps: int, device: torch.device) -> tuple[SpeechData, Fold]:
    """Random features of eight speakers, for so many batches and a reference each, and of a ninth who is tested."""
    if settings.encoder.is_frozen:
        raise RunError(
            f"{settings.encoder.title} runs once, and speed is about what every step computes: time a training on it with "
            "'dsnet train'"
        )
    kind = create_encoder(settings.encoder.name, **settings.encoder.options).input_kind
    shape = (num_samples(settings.max_frames),) if kind == "waveform" else (settings.max_frames, NUM_MEL_BINS)
    each = -(-steps * settings.batch_size // NUM_SPEAKERS) + 1
    spoken = [("test", i) for i in range(_TEST_UTTERANCES)]
    spoken += [(f"speaker {number}", i) for i in range(each) for number in range(NUM_SPEAKERS)]
    utterances = [
        Utterance(f"{speaker}/{i}", Path(), speaker, EMOTIONS[(_NEUTRAL + i) % len(EMOTIONS)]) for speaker, i in spoken
    ]
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn(shape, generator=generator) / 10 for _ in utterances]  # a waveform's full scale is 1
    indices = list(range(len(utterances)))
    fold = Fold(0, ("test",), (), indices[_TEST_UTTERANCES:], [], indices[:_TEST_UTTERANCES])
    return SpeechData(utterances, features, settings.max_frames, device, kind), fold


def _tensors(held: Any) -> Iterable[Tensor]:
    """The tensors in lists and dicts."""
    if isinstance(held, Tensor):
        yield held
    elif isinstance(held, Mapping | list):
        for part in held.values() if isinstance(held, Mapping) else held:
            yield from _tensors(part)
