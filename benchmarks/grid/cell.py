"""One cell: a method trained on a fold, tested on its own corpus and on others; the record of it on disk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from benchmarks.data import Fold, FoldSide, SpeechData, divide, select_folds
from benchmarks.grid.corpus_data import CorpusData
from benchmarks.grid.plan import PlannedCell
from benchmarks.grid.record import (
    PREDICTIONS_NAME,
    RESULT_NAME,
    SPACES_NAME,
    TRAINING_SPACES_NAME,
    VERSION,
    CellRecord,
    CorpusTest,
    PredictionRow,
    SpacesRecord,
    read_record,
    score_speakers,
)
from benchmarks.grid.spec import CorpusSpec
from benchmarks.methods import Method
from benchmarks.output.environment import describe
from benchmarks.output.files import read_json, write_json, write_tensors
from benchmarks.output.run_folder import MODEL_NAME
from benchmarks.output.typed_json import to_json
from benchmarks.scores.probing import PROBED_UTTERANCES, Probes, probe
from benchmarks.scores.uar import uar
from benchmarks.training import (
    STATE_NAME,
    TrainingIdentity,
    TrainingSettings,
    check_same,
    derive_seed,
    load_model,
)
from benchmarks.training.device import put_on_device
from benchmarks.training.fit import fit, make_method
from benchmarks.training.inference import predict, spaces
from dsnet_plugin import DSNetError


@dataclass(frozen=True)
class CellContext:
    """Where and on what a cell is computed."""

    out: Path
    """The run's folder."""

    accelerator: Accelerator
    """Device and precision."""

    load: Callable[[CorpusSpec], CorpusData]
    """Gives a corpus with its features in memory."""


def run_cell(cell: PlannedCell, context: CellContext) -> CellRecord:
    """Trains a cell's method on its fold and tests it, or returns the record that is there already.

    A record that lacks one of the cell's targets gets it from the model on disk, without another training.

    The cell's folder gets ``best.safetensors``, ``result.json``, ``predictions.json`` (every utterance's probabilities),
    ``spaces.safetensors`` (the features of validation and test utterances, with who and what they are) and
    ``training_spaces.safetensors`` (the same of a sample of the training utterances).

    Returns:
        The record of ``result.json``.

    Raises:
        RunError: the folder holds a result of other settings, or a loss is not finite.
        NeutralReferenceError: training speakers without neutral speech, and ``missing_neutral="error"``.
        CheckpointError: the result in the folder is damaged, or of another release.
    """
    folder, accelerator = context.out / cell.folder, context.accelerator
    corpus = context.load(cell.corpus)
    (fold,) = select_folds(divide(corpus.data.utterances, cell.protocol), str(cell.fold))
    method = make_method(cell.method.method, cell.method.config, corpus.data, fold, cell.settings)
    identity = TrainingIdentity(
        corpus.identity, cell.method.method, method.config(), cell.protocol, fold.number, cell.settings
    )
    record = read_result(context.out, cell.folder)
    if record is None:
        (folder / RESULT_NAME).unlink(missing_ok=True)  # one without its model, which is not that of the next training
        story = fit(method, corpus.data, fold, identity, folder, accelerator)
        method = _best(folder, accelerator)
        test, rows = _test(method, corpus, fold.test, cell.settings, accelerator)
        predictions: dict[str, list[PredictionRow]] = {cell.corpus.name: rows}
        record = CellRecord(
            version=VERSION,
            folder=cell.folder,
            label=cell.method.label,
            adapts=method.adapts,
            identity=identity,
            story=story,
            tests={cell.corpus.name: test},
            probes=_look_inside(method, corpus.data, fold, cell.settings, folder, accelerator),
            environment=describe(accelerator.device),
        )
        missing = list(cell.targets)
    else:
        check_same(identity, record.identity, folder)
        missing = [target for target in cell.targets if target.name not in record.tests]
        if not missing:
            return record
        method = _best(folder, accelerator)
        predictions = read_json(folder / PREDICTIONS_NAME) if (folder / PREDICTIONS_NAME).is_file() else {}
    tests = dict(record.tests)
    for target in missing:
        everything = context.load(target)
        indices = range(len(everything.data.utterances))
        tests[target.name], predictions[target.name] = _test(method, everything, indices, cell.settings, accelerator)
    record = replace(record, tests=tests)
    write_json(folder / PREDICTIONS_NAME, predictions)
    write_json(folder / RESULT_NAME, to_json(record))
    (folder / STATE_NAME).unlink(missing_ok=True)
    accelerator.free_memory()
    return record


def read_result(out: Path, folder: str) -> CellRecord | None:
    """The record in a cell's folder; None where there is none, or no model beside it: then the cell is to be trained.

    Args:
        out: the run's folder.
        folder: the cell's, relative to it.

    Raises:
        CheckpointError: the record is damaged, or of another release.
    """
    path = out / folder / RESULT_NAME
    if not (path.is_file() and path.with_name(MODEL_NAME).is_file()):
        return None
    return replace(read_record(read_json(path), str(path)), folder=folder)


def _best(folder: Path, accelerator: Accelerator) -> Method:
    """The model of the epoch that the validation speaker chose."""
    return put_on_device(load_model(folder / MODEL_NAME)[0], accelerator.device)


def _test(
    method: Method,
    corpus: CorpusData,
    indices: Sequence[int],
    settings: TrainingSettings,
    accelerator: Accelerator,
) -> tuple[CorpusTest, list[PredictionRow]]:
    """The test's part of the record, and a row for each utterance."""
    data = corpus.data
    side = FoldSide(data, indices, method, seed=settings.seed, enrol=settings.enrol)
    indices = side.indices
    probabilities = predict(method, side, settings.batch_size, accelerator)
    rows: list[PredictionRow] = [
        {"key": data.utterances[i].key, "truth": int(data.labels[i]), "prediction": p.index(max(p)), "probabilities": p}
        for i, p in zip(indices, probabilities.tolist(), strict=True)
    ]
    score = uar(data.labels[indices], probabilities.argmax(1))
    return CorpusTest(corpus.identity, score, score_speakers(data, indices, probabilities)), rows


def _look_inside(
    method: Method,
    data: SpeechData,
    fold: Fold,
    settings: TrainingSettings,
    folder: Path,
    accelerator: Accelerator,
) -> Probes:
    """Probes the spaces, and keeps them for pictures."""

    def spaces_of(side: FoldSide) -> dict[str, Tensor]:
        return spaces(method, side, settings.batch_size, accelerator)

    sides = [
        FoldSide(data, indices, method, seed=settings.seed, enrol=settings.enrol)
        for indices in (fold.validation, fold.test)
    ]
    validation, test = (side.indices for side in sides)
    unseen = [*validation, *test]
    draw = torch.Generator().manual_seed(derive_seed(settings.seed, fold.number, "probe"))
    seen = [fold.train[i] for i in torch.randperm(len(fold.train), generator=draw)[:PROBED_UTTERANCES].tolist()]
    seen_spaces = spaces_of(FoldSide(data, seen, method, seed=settings.seed))
    by_side = [spaces_of(side) for side in sides]
    unseen_spaces = {name: torch.cat([features[name] for features in by_side]) for name in by_side[0]}
    split = ["validation"] * len(validation) + ["test"] * len(test)
    write_tensors(folder / SPACES_NAME, unseen_spaces, _who(data, unseen, split))
    who = _who(data, seen, ["train"] * len(seen))
    write_tensors(folder / TRAINING_SPACES_NAME, seen_spaces, who)
    try:
        return probe(seen_spaces, who["speaker"], unseen_spaces, data.labels[unseen])
    except DSNetError as error:  # a speaker or class with too few utterances to hold some out
        return Probes({}, None, str(error))


def _who(data: SpeechData, indices: list[int], split: list[str]) -> SpacesRecord:
    """Who and what each row of the spaces is."""
    speakers = [data.utterances[i].speaker for i in indices]
    return {"kind": "spaces", "emotion": data.labels[indices].tolist(), "speaker": speakers, "split": split}
