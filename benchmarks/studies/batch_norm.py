"""What batch norm's statistics do to a score, on RAVDESS: ``python -m benchmarks.studies.batch_norm --help``.

``check`` trains baseline and DSNet and prints, epoch by epoch, the test group's UAR of the same weights under the running
averages, under the statistics that the suite computes, and under those of all training utterances. ``neutral`` trains DSNet
with each kind of statistics in the neutral pass on the smallest encoder that has batch norm. ``dropout`` trains baseline and
DSNet on the paper's CNN with and without dropout between its blocks. Finished trainings are lines of ``--out``; the same
command goes on. The test group is looked at in every epoch, and nothing is chosen by it.
"""

import copy
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from accelerate import Accelerator
from torch import Tensor
from tqdm import tqdm

from backbones import create_encoder
from benchmarks.corpora import EMOTIONS, load_corpus
from benchmarks.data import Fold, FoldSide, SpeechData, leave_one_group_out
from benchmarks.data.features import extract
from benchmarks.methods import Method
from benchmarks.methods.baseline import Baseline
from benchmarks.output.environment import describe
from benchmarks.output.formats import titled
from benchmarks.output.typed_json import to_json
from benchmarks.scores.uar import uar
from benchmarks.studies.batch_norm_lines import Choice, EpochScores, TrainingLine, add_training, read_trainings
from benchmarks.studies.batch_norm_tables import tables
from benchmarks.studies.neutral_statistics import CHOICES, LinearEncoder
from benchmarks.training import TrainingSettings, derive_seed
from benchmarks.training.adam import AdamStep, make_adam
from benchmarks.training.batch_norm_statistics import STATISTICS_UTTERANCES, fit_statistics
from benchmarks.training.device import make_accelerator, put_on_device, resolve_precision
from benchmarks.training.fit import evaluate, train_epoch
from benchmarks.training.inference import predict

GROUPS = 6
"""Groups of four of the 24 speakers."""

SIZES = (STATISTICS_UTTERANCES,)
"""The numbers of utterances that ``check`` computes the statistics of, beside all."""

_SILENCE = 6.9
"""How far below the loudest frame's log energy silence begins, in nepers of power: 30 dB."""

Root = Annotated[Path, typer.Argument(help="RAVDESS' folder.")]
Out = Annotated[Path, typer.Option(help="Gets a JSON line a training.")]
Frames = Annotated[int, typer.Option(min=16, help="Frames of 10 ms, from where the voice begins.")]
Epochs = Annotated[int, typer.Option(min=1, help="Passes over the training speakers.")]
Groups = Annotated[str, typer.Option(help="Which of the six groups test, in turn.")]
Seeds = Annotated[str, typer.Option(help="Seeds, in turn.")]

app = typer.Typer(add_completion=False, help=__doc__, rich_markup_mode=None)


@app.command()
def check(
    root: Root,
    out: Out = Path("runs/batch-norm-check.jsonl"),
    frames: Frames = 200,
    epochs: Epochs = 12,
    groups: Groups = "0,3",
    seeds: Seeds = "0",
) -> None:
    """Compares running, the suite's and full statistics in every epoch."""
    wanted = [Choice(name, neutral="running", encoder="cnn", dropout=0.2) for name in ("baseline", "dsnet")]
    lines = _train_all(root, out, wanted, frames, epochs, groups, seeds, sizes=SIZES)
    typer.echo(titled(tables(lines)))


@app.command()
def neutral(
    root: Root,
    out: Out = Path("runs/batch-norm-neutral.jsonl"),
    frames: Frames = 200,
    epochs: Epochs = 20,
    groups: Groups = "0,1,2,3,4,5",
    seeds: Seeds = "0,1",
) -> None:
    """Compares the statistics that the neutral pass may use, on a linear layer with batch norm over log-mel statistics."""
    wanted = [Choice("dsnet", neutral, encoder="linear", dropout=0.0) for neutral in CHOICES]
    wanted.append(Choice("baseline", neutral="running", encoder="linear", dropout=0.0))
    typer.echo(titled(tables(_train_all(root, out, wanted, frames, epochs, groups, seeds))))


@app.command()
def dropout(
    root: Root,
    out: Out = Path("runs/batch-norm-dropout.jsonl"),
    frames: Frames = 32,
    epochs: Epochs = 6,
    groups: Groups = "0,1,2,3,4,5",
    seeds: Seeds = "0,1",
) -> None:
    """Compares rates of dropout between the blocks of the paper's CNN."""
    wanted = [
        Choice(name, neutral="running", encoder="cnn", dropout=rate)
        for rate in (0.2, 0.0)
        for name in ("baseline", "dsnet")
    ]
    typer.echo(titled(tables(_train_all(root, out, wanted, frames, epochs, groups, seeds))))


def _train_all(
    root: Path,
    out: Path,
    wanted: list[Choice],
    frames: int,
    epochs: int,
    groups: str,
    seeds: str,
    sizes: tuple[int, ...] = (),
) -> list[TrainingLine]:
    """The lines of all trainings; those that are not in ``out`` yet are computed and added."""
    device = make_accelerator("auto", "fp32").device
    precision = resolve_precision("auto", device)
    trainer: _Trainer | None = None
    lines = []
    for seed in map(int, seeds.split(",")):
        for choice in wanted:
            for group in map(int, groups.split(",")):
                settings = TrainingSettings(epochs=epochs, max_frames=frames, seed=seed, precision=precision)
                finished = [line for line in read_trainings(out) if line.is_of(choice, group, settings)]
                if not finished:
                    trainer = trainer or _Trainer(root, settings)
                    finished = [trainer.train(choice, group, settings, sizes)]
                    add_training(out, finished[0])
                lines += finished
    return lines


class _Trainer:
    """RAVDESS in memory, and one training after the other on it."""

    def __init__(self, root: Path, settings: TrainingSettings) -> None:
        self.accelerator = make_accelerator("auto", settings.precision)
        corpus = load_corpus("ravdess", root)
        features, _ = extract(corpus.utterances, 600)
        voiced = [_from_the_voice_on(matrix) for matrix in features if matrix is not None]
        self.data = SpeechData(corpus.utterances, voiced, settings.max_frames, self.accelerator.device)
        self.folds = leave_one_group_out(corpus.utterances, GROUPS)

    def train(self, choice: Choice, group: int, settings: TrainingSettings, sizes: tuple[int, ...]) -> TrainingLine:
        """One training, as :func:`benchmarks.training.fit.fit` does it, with a look at the test group in every epoch."""
        return _train(choice, self.data, self.folds[group], settings, self.accelerator, sizes)


def _train(
    choice: Choice,
    data: SpeechData,
    fold: Fold,
    settings: TrainingSettings,
    accelerator: Accelerator,
    sizes: tuple[int, ...],
) -> TrainingLine:
    """One training, as :func:`benchmarks.training.fit.fit` does it, with a look at the test group in every epoch."""
    torch.manual_seed(derive_seed(settings.seed, fold.number, "weights"))
    kind = Baseline if choice.method == "baseline" else CHOICES[choice.neutral]
    encoder = create_encoder("cnn", dropout=choice.dropout) if choice.encoder == "cnn" else LinearEncoder()
    method = kind(encoder, len(EMOTIONS))
    training = FoldSide(data, fold.train, method, "error", settings.seed)
    validation, test = (FoldSide(data, side, method, seed=settings.seed) for side in (fold.validation, fold.test))
    put_on_device(method, accelerator.device)
    step = AdamStep(method, make_adam(method, settings.learning_rate), accelerator)
    batches = -(-len(training.training_places(0)) // settings.batch_size)
    epochs: list[EpochScores] = []
    best, seconds = (-1.0, 0.0), {"training": 0.0, "statistics": 0.0}
    predicted = torch.tensor([])
    name = f"{' '.join(map(str, to_json(choice).values()))} group {fold.number} seed {settings.seed}"
    bar = tqdm(total=settings.epochs * batches, desc=name, mininterval=5)
    for epoch in range(settings.epochs):
        torch.manual_seed(derive_seed(settings.seed, fold.number, epoch))
        start = time.perf_counter()
        train_epoch(training, step, settings, epoch, batches, bar)
        seconds["training"] += time.perf_counter() - start
        scores = {}
        if sizes:
            scores["running"] = _test_uar(method, test, settings, accelerator)
            for size in (*sizes, len(fold.train)):
                other = copy.deepcopy(method).train()
                fit_statistics(other, training, epoch, settings, accelerator, size)
                scores["all" if size == len(fold.train) else str(size)] = _test_uar(other, test, settings, accelerator)
        method.train()
        start = time.perf_counter()
        fit_statistics(method, training, epoch, settings, accelerator)
        seconds["statistics"] += time.perf_counter() - start
        losses, validation_uar = evaluate(method, validation, settings.batch_size, accelerator)
        guesses = predict(method, test, settings.batch_size, accelerator).argmax(1)
        scores["suite"] = uar(data.labels[fold.test], guesses)
        epochs.append(EpochScores(validation_uar, scores))
        rank = validation_uar, -losses["task"]
        if rank > best:
            best, predicted = rank, guesses
    bar.close()
    return TrainingLine(
        **to_json(choice),
        group=fold.number,
        seed=settings.seed,
        frames=settings.max_frames,
        budget=settings.epochs,
        epochs=epochs,
        truth=data.labels[fold.test].tolist(),
        predicted=predicted.tolist(),
        training_seconds=round(seconds["training"], 4),
        statistics_seconds=round(seconds["statistics"], 4),
        statistics_utterances=STATISTICS_UTTERANCES,
        environment=to_json(describe(accelerator.device)),
    )


def _test_uar(method: Method, test: FoldSide, settings: TrainingSettings, accelerator: Accelerator) -> float:
    probabilities = predict(method, test, settings.batch_size, accelerator)
    return uar(test.data.labels[test.indices], probabilities.argmax(1))


def _from_the_voice_on(features: Tensor) -> Tensor:
    """Log-mel features (T, 80) without the silence in front: RAVDESS begins with a second of it, which fills a short cut."""
    energy = features.logsumexp(1)
    return features[int((energy > energy.max() - _SILENCE).int().argmax()) :]


if __name__ == "__main__":
    app()
