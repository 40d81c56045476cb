"""What encoding once is worth: ``python -m benchmarks.studies.encode_once --help``.

The same training loop runs an epoch on features from the disk, and an epoch in which each batch goes through the frozen encoder
again, on the same fold, with the same training, batch-norm statistics and validation.
"""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Annotated

import torch
import typer
from torch import Tensor
from tqdm import tqdm

from backbones import FrozenEncoder
from benchmarks.corpora import Corpus, load_or_generate
from benchmarks.data import EncoderSpec, FoldSide, FrontEnd, SpeechData, collate, divide
from benchmarks.data.encoding import encode
from benchmarks.data.features import extract
from benchmarks.data.front_end import frozen_encoder, frozen_front_end
from benchmarks.output.environment import Environment, describe
from benchmarks.output.formats import terminal
from benchmarks.output.table import Table
from benchmarks.training import TrainingSettings
from benchmarks.training.adam import AdamStep, make_adam
from benchmarks.training.batch_norm_statistics import fit_statistics
from benchmarks.training.device import make_accelerator
from benchmarks.training.fit import evaluate, make_method, train_epoch


@dataclass(frozen=True)
class EncodeOnceRecord:
    """Seconds of an epoch in both ways, on one machine, in one run."""

    corpus: str
    """The corpus' name."""

    encoder: str
    """The frozen encoder's title."""

    method: str
    """What is trained."""

    utterances: int
    """The number of utterances on the training side."""

    encoded_seconds: float
    """The seconds of an epoch on features from the disk: the median over epochs."""

    each_time_seconds: float
    """The seconds of an epoch that encodes every batch."""

    times: float
    """How many times as long the latter takes."""

    environment: Environment
    """What it was computed with."""


class EncodedEachTime(SpeechData):
    """A corpus whose utterances go through the frozen encoder whenever a batch is made of them.

    Args:
        encoded: the same corpus, encoded once.
        waveforms: the encoder's input of each utterance.
        frozen: the encoder.
    """

    def __init__(self, encoded: SpeechData, waveforms: Sequence[Tensor], frozen: FrozenEncoder) -> None:
        super().__init__(encoded.utterances, encoded.features, encoded.max_frames, encoded.device, encoded.input_kind)
        self.waveforms, self.frozen = waveforms, frozen

    def inputs(self, indices: Sequence[int]) -> Tensor:
        """Encoded utterances (N, L, D)."""
        chosen = [self.waveforms[i] for i in indices]
        encoded: Tensor = self.frozen(collate(chosen, self.max_frames, self.frozen.input_kind, self.device))
        return encoded


def main(
    corpus: Annotated[str, typer.Argument(help="A name that 'dsnet corpora' lists.")],
    root: Annotated[Path, typer.Argument(help="Its folder.")],
    encoder: Annotated[str, typer.Argument(help="Such as hf/FOLDER.")],
    method: Annotated[str, typer.Option(help="What is trained.")] = "dsnet",
    protocol: Annotated[str, typer.Option(help="The first of its folds is trained on.")] = "groups-6",
    epochs: Annotated[int, typer.Option(min=1, help="Epochs on features from the disk; one that encodes.")] = 5,
    out: Annotated[Path | None, typer.Option(help="A .jsonl file that gets the line, too.")] = None,
) -> None:
    """Compares an epoch on cached features with one that encodes."""
    torch.manual_seed(0)
    loaded = load_or_generate(corpus, root, {})
    spec = EncoderSpec(encoder, {"freeze": "all", "layer_weights": True})
    front_end = frozen_front_end(spec, 600, "fp32")
    assert front_end.encoder is not None
    cached, fresh = _both(loaded, front_end)
    settings = TrainingSettings(encoder=front_end.encoder, epochs=epochs)
    fold = divide(loaded.utterances, protocol)[0]
    seconds: dict[str, list[float]] = {}
    for name, data, rounds in (("encoded", cached, epochs), ("each time", fresh, 1)):
        accelerator = make_accelerator("cpu", "fp32")
        trained = make_method(method, {}, cached, fold, settings)
        step = AdamStep(trained, make_adam(trained, settings.learning_rate), accelerator)
        training, validation = (
            FoldSide(data, fold.train, trained, "mask", 0, fold.test),
            FoldSide(data, fold.validation, trained),
        )
        batches = -(-len(training.training_places(0)) // settings.batch_size) * len(trained.phases)
        for epoch in range(rounds):
            started = perf_counter()
            with tqdm(total=batches, desc=name, leave=False) as bar:
                train_epoch(training, step, settings, epoch, batches, bar)
            fit_statistics(trained, training, epoch, settings, accelerator)
            evaluate(trained, validation, settings.batch_size, accelerator)
            seconds.setdefault(name, []).append(perf_counter() - started)
    once, each = (statistics.median(seconds[name]) for name in ("encoded", "each time"))
    record = EncodeOnceRecord(
        corpus, spec.title, method, len(fold.train), once, each, each / once, describe(torch.device("cpu"))
    )
    if out is not None:
        with out.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(record)) + "\n")
    typer.echo(terminal(table([record])))


def table(lines: Sequence[EncodeOnceRecord]) -> Table:
    """The seconds of an epoch in both ways, a row a line."""
    rows = [
        [
            line.corpus,
            line.method,
            line.encoder,
            str(line.utterances),
            f"{line.encoded_seconds:.2f}",
            f"{line.each_time_seconds:.1f}",
            f"{line.times:.0f}",
        ]
        for line in lines
    ]
    header = ["corpus", "method", "encoder", "utterances", "s encoded once", "s each time", "times as long"]
    return Table(header, rows, left=3)


def _both(corpus: Corpus, front_end: FrontEnd) -> tuple[SpeechData, EncodedEachTime]:
    """The corpus with features from the disk, and as one that is encoded each time."""
    assert front_end.encoder is not None
    device, frozen = torch.device("cpu"), frozen_encoder(front_end.encoder)
    features, problems = encode(corpus.utterances, front_end, device, typer.echo)
    assert not problems, problems
    encoded = [states for states in features if states is not None]
    cached = SpeechData(corpus.utterances, encoded, front_end.max_frames, device, front_end.input_kind)
    inputs, _ = extract(corpus.utterances, front_end.max_frames, frozen.input_kind)
    return cached, EncodedEachTime(cached, [waveform for waveform in inputs if waveform is not None], frozen)


if __name__ == "__main__":
    typer.run(main)
