"""One training loop for all methods: a fold, from the first batch to the test speaker's predictions."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from tqdm import tqdm

from backbones import create_encoder
from benchmarks.batches import Side, SpeechData
from benchmarks.checkpoint import MODEL_NAME, STATE_NAME, load_model, load_state, save_model, save_state
from benchmarks.corpora import EMOTIONS
from benchmarks.environment import describe
from benchmarks.errors import RunError
from benchmarks.evaluation import uar
from benchmarks.files import read_json, write_json
from benchmarks.methods import Method, MethodOutput, create_method
from benchmarks.protocols import Fold
from benchmarks.settings import TrainingSettings, check_same, derive_seed

RESULT_NAME = "result.json"


def make_accelerator(device: str, precision: str) -> Accelerator:
    """Accelerate for ``device`` ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises:
        RunError: CUDA asked for and not there, or a launch of several processes.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise RunError("--device cuda: torch sees no CUDA device here; use --device cpu or auto")
    # Accelerate keeps one device and precision for the process; a second experiment may want others.
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision="bf16" if precision == "bf16" else "no")
    if accelerator.num_processes > 1:
        raise RunError(f"launched as {accelerator.num_processes} processes; dsnet train runs as one: start it directly")
    return accelerator


def train_fold(
    name: str,
    corpus: dict[str, Any],
    data: SpeechData,
    fold: Fold,
    settings: TrainingSettings,
    folder: Path,
    accelerator: Accelerator,
) -> dict[str, Any]:
    """Trains a method on one fold and tests it, or returns the result that is there already.

    A killed call starts again at the epoch it was in and gives the same numbers as an undisturbed one: each epoch draws
    its random numbers from a seed of its own, and the state at its start is on disk.

    Args:
        name: the method.
        corpus: what identifies the data in the record.
        data: the corpus' utterances and features.
        fold: indices into them.
        settings: the budget.
        folder: gets ``best.safetensors``, ``result.json`` and, while training, ``state.safetensors``.
        accelerator: device and precision.

    Returns:
        The record of ``result.json``: settings, scores, the curves and every test utterance's prediction.

    Raises:
        RunError: the folder holds a result of other settings, or the loss is not finite.
        NeutralReferenceError: training speakers without neutral speech, and ``missing_neutral="error"``.
    """
    torch.manual_seed(derive_seed(settings.seed, fold.number, "weights"))
    method = create_method(name, create_encoder(settings.encoder), len(EMOTIONS))
    cell = {
        "corpus": corpus,
        "method": name,
        "config": method.config(),
        "fold": fold.number,
        "settings": asdict(settings),
    }
    if (folder / RESULT_NAME).is_file():
        result = read_json(folder / RESULT_NAME)
        check_same(cell, result["cell"], folder)
        return dict(result)
    training = Side(data, fold.train, settings.missing_neutral if method.needs_neutral else None, settings.seed)
    # The validation loss is computed on the same terms; a validation speaker without neutral speech has no calibration.
    validation = Side(data, fold.validation, "mask" if _has_neutral(data, fold, method) else None, settings.seed)
    trained = len(training.training_indices(0))
    if trained < 2:
        raise RunError(f"fold {fold.number}: {trained} utterances to train on; expected at least 2")
    curves, seconds = _fit(method, training, validation, cell, settings, folder, accelerator)
    chosen, record = load_model(folder / MODEL_NAME)
    predictions = predict(accelerator.prepare(chosen), data, fold.test, settings.batch_size)
    truth = data.labels[fold.test]
    best_epoch = record["epoch"]
    result = {
        "cell": cell,
        "test_speaker": fold.test_speaker,
        "validation_speaker": fold.validation_speaker,
        "utterances": {"train": trained, "validation": len(fold.validation), "test": len(fold.test)},
        "references": training.reference_keys(),
        "best_epoch": best_epoch,
        "validation_uar": curves[best_epoch - 1]["validation_uar"],
        "uar": uar(truth, predictions.argmax(1)),
        "seconds": round(seconds, 1),
        "environment": describe(accelerator.device),
        "curves": curves,
        "predictions": [
            {"key": data.utterances[i].key, "truth": t, "prediction": p.index(max(p)), "probabilities": p}
            for i, t, p in zip(fold.test, truth.tolist(), predictions.tolist(), strict=True)
        ],
    }
    write_json(folder / RESULT_NAME, result)
    (folder / STATE_NAME).unlink()
    accelerator.free_memory()
    return result


def _fit(
    method: Method,
    training: Side,
    validation: Side,
    cell: dict[str, Any],
    settings: TrainingSettings,
    folder: Path,
    accelerator: Accelerator,
) -> tuple[list[dict[str, Any]], float]:
    """Trains a fold to its last epoch, from the state in the folder if there is one.

    Returns:
        The curves, one entry an epoch, and the seconds spent; the chosen model is in the folder.
    """
    started = time.perf_counter()
    model, optimizer = accelerator.prepare(method, torch.optim.Adam(method.parameters(), lr=settings.learning_rate))
    # torch's patience counts the bad epochs that are let pass: the paper's 20th is the first that is not.
    schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=settings.patience - 1, threshold=0.0)
    curves: list[dict[str, Any]] = []
    if (folder / STATE_NAME).is_file():
        state = load_state(folder / STATE_NAME, method, optimizer)
        check_same(cell, state["cell"], folder)
        schedule.load_state_dict(state["schedule"])
        curves = state["curves"]
        started -= state["seconds"]
    batches = -(-len(training.training_indices(0)) // settings.batch_size)
    bar = tqdm(
        total=settings.epochs * batches,
        initial=len(curves) * batches,
        desc=f"{cell['method']} fold {cell['fold']}",
        unit="batch",
        mininterval=1,
        leave=False,
    )
    with bar:
        for epoch in range(len(curves), settings.epochs):
            torch.manual_seed(derive_seed(settings.seed, cell["fold"], epoch))
            losses = _train_epoch(model, training, optimizer, settings.batch_size, epoch, accelerator, bar)
            found = {"epoch": epoch + 1, "train": losses, **_evaluate(model, validation, settings.batch_size)}
            schedule.step(found["validation"]["total"])
            found["learning_rate"] = optimizer.param_groups[0]["lr"]
            bar.set_postfix(epoch=epoch + 1, val_uar=f"{found['validation_uar']:.1f}")
            if all(_rank(found) > _rank(earlier) for earlier in curves):
                save_model(folder / MODEL_NAME, method, {**_model_record(cell, method), "epoch": epoch + 1})
            curves.append(found)
            seconds = time.perf_counter() - started
            state = {"cell": cell, "curves": curves, "seconds": seconds, "schedule": schedule.state_dict()}
            save_state(folder / STATE_NAME, method, optimizer, state)
    return curves, time.perf_counter() - started


def _rank(epoch: dict[str, Any]) -> tuple[float, float]:
    """Of epochs the best is wanted. Validation UAR alone ties often among few utterances; the lower loss decides then."""
    return epoch["validation_uar"], -epoch["validation"]["task"]


def training_step(
    model: nn.Module, batch: dict[str, Tensor], optimizer: torch.optim.Optimizer, accelerator: Accelerator
) -> MethodOutput:
    """One update of a method's weights on one batch; returns what its ``forward`` returned."""
    output: MethodOutput = model(**batch)
    optimizer.zero_grad()
    accelerator.backward(output.loss)
    clip_norm = accelerator.unwrap_model(model).clip_norm
    if clip_norm is not None:
        accelerator.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return output


def predict(model: nn.Module, data: SpeechData, indices: list[int], batch_size: int) -> Tensor:
    """Class probabilities of utterances, shape (len(indices), 4), on the CPU."""
    model.eval()
    with torch.inference_mode():
        logits = [model(data.inputs(indices[i : i + batch_size])) for i in range(0, len(indices), batch_size)]
        return torch.cat(logits).float().softmax(1).cpu()


def _train_epoch(
    model: nn.Module,
    side: Side,
    optimizer: torch.optim.Optimizer,
    batch_size: int,
    epoch: int,
    accelerator: Accelerator,
    bar: Any,
) -> dict[str, float]:
    places = torch.tensor(side.training_indices(epoch))
    places = places[torch.randperm(len(places))]
    mean = _MeanLosses()
    model.train()
    for chosen in torch.split(places, batch_size):
        if len(chosen) < 2:  # batch statistics need two
            continue
        mean.add(training_step(model, side.batch(chosen.tolist(), epoch), optimizer, accelerator), len(chosen))
        bar.update()
    losses = mean.result()
    if not all(map(_finite, losses.values())):
        raise RunError(
            f"epoch {epoch + 1}: the loss is not finite ({', '.join(f'{k} {v:.3g}' for k, v in losses.items())}); "
            "use --precision fp32, or look for silent or damaged recordings"
        )
    return losses


def _evaluate(model: nn.Module, side: Side, batch_size: int) -> dict[str, Any]:
    mean, predicted, truth = _MeanLosses(), [], []
    model.eval()
    with torch.inference_mode():
        for places in torch.split(torch.arange(len(side.indices)), batch_size):
            batch = side.batch(places.tolist(), epoch=0)
            output = model(**batch)
            mean.add(output, len(places))
            predicted.append(output.logits.argmax(1))
            truth.append(batch["labels"])
    return {
        "validation": mean.result(),
        "validation_uar": uar(torch.cat(truth).cpu(), torch.cat(predicted).cpu()),
    }


class _MeanLosses:
    """Mean of each loss over utterances, summed on the device so that no step waits for a number."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.rows: dict[str, int] = {}

    def add(self, output: Any, rows: int) -> None:
        for name, value in {"total": output.loss, **output.losses}.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach().float() * rows
            self.rows[name] = self.rows.get(name, 0) + rows

    def result(self) -> dict[str, float]:
        return {name: float(total) / self.rows[name] for name, total in self.sums.items()}


def _has_neutral(data: SpeechData, fold: Fold, method: Method) -> bool:
    return method.needs_neutral and any(data.utterances[i].label == "neutral" for i in fold.validation)


def _model_record(cell: dict[str, Any], method: Method) -> dict[str, Any]:
    settings = cell["settings"]
    chosen = {"encoder": settings["encoder"], "max_frames": settings["max_frames"], "classes": list(EMOTIONS)}
    if (blueprint := getattr(method.encoder, "blueprint", None)) is not None:
        chosen["blueprint"] = blueprint
    return {
        "method": cell["method"],
        "config": cell["config"],
        "corpus": cell["corpus"],
        "fold": cell["fold"],
        **chosen,
    }


def _finite(value: float) -> bool:
    return abs(value) < float("inf")
