"""The search for a form of DSNet that helps on voices never heard: ``python -m benchmarks.studies.search --help``.

Every form of :data:`benchmarks.studies.candidates.CANDIDATES` is trained on a frozen encoder by speaker groups, tested on the groups
left out and on all of the other corpora, and compared on equal utterances: one neutral sentence of each speaker is kept from every
training set, and one from every score. Finished trainings are lines of ``--out``; the same command goes on, and without a root it
prints the table of the lines that are there, of ``--sources`` and ``--seeds``.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated

import torch
import typer
from joblib import Parallel, delayed
from sklearn.metrics import confusion_matrix
from torch import Tensor
from tqdm import tqdm

from benchmarks.corpora import EMOTIONS
from benchmarks.data import EncoderSpec, FoldSide, SpeechData, divide, select_folds
from benchmarks.data.front_end import trainable_encoder
from benchmarks.grid.corpus_data import load_data, usable
from benchmarks.grid.plan import PlannedCell, plan
from benchmarks.grid.spec import CorpusSpec, Grid, MethodSpec, open_corpus
from benchmarks.output.environment import Environment, describe
from benchmarks.output.files import append_line, read_lines
from benchmarks.output.formats import titled
from benchmarks.output.table import Table
from benchmarks.output.typed_json import from_json, to_json
from benchmarks.studies.candidates import CANDIDATES, make_candidate
from benchmarks.studies.standardised import STANDARDISED, standardised
from benchmarks.training import derive_seed
from benchmarks.training.adam import AdamStep, make_adam
from benchmarks.training.batch_norm_statistics import fit_statistics
from benchmarks.training.device import make_accelerator
from benchmarks.training.fit import evaluate, train_epoch
from benchmarks.training.inference import predict

MEASURES = ("baseline", "baseline-sentence", *STANDARDISED, *CANDIDATES)

Confusion = Sequence[Sequence[int]]
"""Counts of utterances, rows the truth, columns the prediction, in the order of ``EMOTIONS``."""


@dataclass(frozen=True)
class SearchRecord:
    """One training of one form."""

    form: str
    """Its name among the candidates, or ``"baseline"``, ``"baseline-sentence"``."""

    source: str
    """What it was trained on."""

    fold: int
    """Which of the speaker groups was left out."""

    seed: int
    """Of the training, and of the draw of sentences."""

    epochs: int
    """The budget."""

    best_epoch: int
    """The epoch that the validation speakers chose, from 1."""

    tests: dict[str, Confusion]
    """What it answered: on the source the group left out, on others everyone."""

    environment: Environment
    """What it was computed with."""

    def __post_init__(self) -> None:
        if self.source not in self.tests:
            raise ValueError(
                f"tests are of {', '.join(self.tests) or 'nothing'}; expected {self.source}, the source, too"
            )
        for name, counts in self.tests.items():
            if [len(row) for row in counts] != [len(EMOTIONS)] * len(EMOTIONS):
                raise ValueError(f"tests.{name} is not a matrix of {len(EMOTIONS)} by {len(EMOTIONS)} counts")


def main(
    root: Annotated[list[str] | None, typer.Option(help="NAME=FOLDER of a corpus.", metavar="NAME=FOLDER")] = None,
    sources: Annotated[str, typer.Option(help="The corpora that are trained on.")] = "nemo,ravdess",
    forms: Annotated[str, typer.Option(help="Names of forms; all by default.")] = ",".join(MEASURES),
    encoder: Annotated[str, typer.Option(help="The frozen encoder.")] = "hf/openai/whisper-base",
    seeds: Annotated[str, typer.Option(help="Seeds.")] = "0,1,2",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training speakers.")] = 20,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings side by side.")] = 2,
    out: Annotated[Path, typer.Option(help="Gets a JSON line a training.")] = Path("runs/search.jsonl"),
) -> None:
    """Trains and tests every form that has no line yet, and prints a table."""
    lines = [from_json(SearchRecord, line, str(out), "delete the file") for line in read_lines(out)]
    if root:
        corpora = [
            CorpusSpec(name, name, Path(folder).expanduser().absolute())
            for name, _, folder in (entry.partition("=") for entry in root)
        ]
        grid = Grid(
            [MethodSpec("baseline", "baseline-equal")],
            corpora,
            [EncoderSpec(encoder, {"freeze": "all", "layer_weights": True})],
            protocol="groups-6",
            seeds=[int(seed) for seed in seeds.split(",")],
            cross=True,
            sources=sources.split(","),
            settings={"epochs": epochs, "max_frames": 600, "missing_neutral": "mask", "enrol": 1},
        )
        cells = plan([grid], lambda _: "fp32")
        device = make_accelerator("cpu", "fp32").device
        for corpus in corpora:  # encoded here, once, before many workers want them
            usable(open_corpus(corpus), cells[0].front_end, device, False, typer.echo)
        done = {(line.form, line.source, line.fold, line.seed) for line in lines}
        waiting = [
            (form, cell)
            for form in forms.split(",")
            for cell in cells
            if (form, cell.corpus.name, cell.fold, cell.settings.seed) not in done
        ]
        work = Parallel(jobs, return_as="generator_unordered")(delayed(train)(form, cell) for form, cell in waiting)
        for line in tqdm(work, total=len(waiting), desc="trainings", unit="training"):
            append_line(out, to_json(line))
            lines.append(line)
    asked = [line for line in lines if line.source in sources.split(",") and str(line.seed) in seeds.split(",")]
    typer.echo(titled([table(asked)]))


def train(form: str, cell: PlannedCell) -> SearchRecord:
    """Trains one form on one fold, as :func:`benchmarks.training.fit.fit` does, and tests the epoch that validation chose."""
    torch.set_num_threads(1)
    accelerator = make_accelerator("cpu", cell.settings.precision)
    read = partial(load_data, front_end=cell.front_end, device=accelerator.device, skip=False)

    def load(spec: CorpusSpec, testing: bool = False) -> SpeechData:
        data: SpeechData = read(spec).data
        return standardised(data, STANDARDISED[form], testing) if form in STANDARDISED else data

    settings, data = cell.settings, load(cell.corpus)
    (fold,) = select_folds(divide(data.utterances, cell.protocol), str(cell.fold))
    torch.manual_seed(derive_seed(settings.seed, fold.number, "weights"))
    speakers = {data.utterances[i].speaker for i in fold.train}
    method = make_candidate(form, trainable_encoder(settings.encoder), len(EMOTIONS), len(speakers))
    training = FoldSide(data, fold.train, method, settings.missing_neutral, settings.seed)
    validation = FoldSide(data, fold.validation, method, seed=settings.seed, enrol=settings.enrol)
    step = AdamStep(method, make_adam(method, settings.learning_rate), accelerator)
    batches = -(-len(training.training_places(0)) // settings.batch_size)
    best, best_epoch, chosen = (-1.0, 0.0), 0, copy.deepcopy(method.state_dict())
    with tqdm(disable=True) as bar:
        for epoch in range(settings.epochs):
            torch.manual_seed(derive_seed(settings.seed, fold.number, epoch))
            train_epoch(training, step, settings, epoch, batches, bar)
            fit_statistics(method, training, epoch, settings, accelerator)
            losses, score = evaluate(method, validation, settings.batch_size, accelerator)
            if (score, -losses["task"]) > best:
                best, best_epoch, chosen = (score, -losses["task"]), epoch + 1, copy.deepcopy(method.state_dict())
    method.load_state_dict(chosen)
    tests = {}
    for spec in (cell.corpus, *cell.targets):
        heard = load(spec, testing=True)
        indices: Sequence[int] = fold.test if spec == cell.corpus else range(len(heard.utterances))
        side = FoldSide(heard, indices, method, seed=settings.seed, enrol=settings.enrol)
        predicted = predict(method, side, 256, accelerator).argmax(1)
        labels = list(range(len(EMOTIONS)))
        tests[spec.name] = confusion_matrix(heard.labels[side.indices], predicted, labels=labels).tolist()
    return SearchRecord(
        form,
        cell.corpus.name,
        fold.number,
        settings.seed,
        settings.epochs,
        best_epoch,
        tests,
        describe(accelerator.device),
    )


def table(lines: Sequence[SearchRecord]) -> Table:
    """UAR by form: within each source pooled over the groups, on each other corpus the mean over the groups' models, and the mean
    over all of these; with the deviation over seeds. A form of which trainings are missing is left out, and a note says so."""
    pairs = [
        (source, target)
        for source in dict.fromkeys(line.source for line in lines)
        for target in sorted(
            {name for line in lines if line.source == source for name in line.tests}, key=lambda n: (n != source, n)
        )
    ]
    within = [pair for pair in pairs if pair[0] == pair[1]]
    across = [pair for pair in pairs if pair[0] != pair[1]]
    columns = [*([pair] for pair in pairs), within, across]
    names = [source if source == target else f"{source} to {target}" for source, target in pairs]
    grid = _tests(lines)
    rows, notes = [], []
    for form in dict.fromkeys(line.form for line in lines):
        of_form = [line for line in lines if line.form == form]
        if (done := _tests(of_form)) == grid:
            rows.append([form, *(_over_seeds(of_form, column) for column in columns)])
        else:
            notes.append(f"{form} is left out: {len(done)} of {len(grid)} tests are there.")
    return Table(["form", *names, "within", "across"], rows, notes=notes, left=1)


def _tests(lines: Sequence[SearchRecord]) -> set[tuple[str, int, int, str]]:
    """Every test of every training: source, fold, seed and target."""
    return {(line.source, line.fold, line.seed, target) for line in lines for target in line.tests}


def _over_seeds(lines: Sequence[SearchRecord], pairs: Sequence[tuple[str, str]]) -> str:
    if not pairs:
        return "-"
    seeds = sorted({line.seed for line in lines})
    scores = [mean(_uar(lines, seed, source, target) for source, target in pairs) for seed in seeds]
    return f"{mean(scores):.1f}" + (f" ± {stdev(scores):.1f}" if len(scores) > 1 else "")


def _uar(lines: Sequence[SearchRecord], seed: int, source: str, target: str) -> float:
    counts = [torch.tensor(line.tests[target]) for line in lines if (line.seed, line.source) == (seed, source)]
    if source == target:
        return _recall(torch.stack(counts).sum(0))
    return mean(_recall(own) for own in counts)


def _recall(counts: Tensor) -> float:
    """UAR in percent of a confusion matrix."""
    spoken = counts.sum(1)
    return 100 * float((counts.diagonal()[spoken > 0] / spoken[spoken > 0]).mean())


if __name__ == "__main__":
    typer.run(main)
