"""One training loop for all methods: a fold, from the first batch to the test speaker's predictions."""

import hashlib
import time
from dataclasses import asdict, dataclass
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

RESULT_NAME = "result.json"


@dataclass(frozen=True)
class TrainingSettings:
    """The budget and the schedule; defaults are the paper's (section 4.2).

    ``max_frames`` are frames of 10 ms; ``patience`` is the number of epochs in a row without a lower validation loss after
    which the learning rate is halved; ``precision`` is ``"fp32"`` or ``"bf16"`` (autocast); ``missing_neutral`` says what
    happens to training speakers without neutral speech, see :class:`dsnet_plugin.NeutralReferences`.
    """

    encoder: str = "cnn"
    epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 1e-3
    patience: int = 20
    max_frames: int = 600
    precision: str = "fp32"
    missing_neutral: str = "error"
    seed: int = 0


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
    torch.manual_seed(_seed(settings.seed, fold.number, "weights"))
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
        _check_same(cell, result["cell"], folder)
        return dict(result)
    started = time.perf_counter()
    training = Side(data, fold.train, settings.missing_neutral if method.needs_neutral else None, settings.seed)
    # The validation loss is computed on the same terms; a validation speaker without neutral speech has no calibration.
    validation = Side(data, fold.validation, "mask" if _has_neutral(data, fold, method) else None, settings.seed)
    optimizer = torch.optim.Adam(method.parameters(), lr=settings.learning_rate)
    model, optimizer = accelerator.prepare(method, optimizer)
    # torch's patience counts the bad epochs that are let pass: the paper's 20th is the first that is not.
    schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=settings.patience - 1, threshold=0.0)
    curves: list[dict[str, Any]] = []
    best = (-1.0, 0.0)
    spent = 0.0
    if (folder / STATE_NAME).is_file():
        record = load_state(folder / STATE_NAME, method, optimizer)
        _check_same(cell, record["cell"], folder)
        schedule.load_state_dict(record["schedule"])
        curves, best, spent = record["curves"], tuple(record["best"]), record["seconds"]
    batches = -(-len(training.training_indices(0)) // settings.batch_size)
    with tqdm(
        total=settings.epochs * batches,
        initial=len(curves) * batches,
        desc=f"{name} fold {fold.number}",
        unit="batch",
        mininterval=1,
        leave=False,
    ) as bar:
        for epoch in range(len(curves), settings.epochs):
            losses = _train_epoch(model, training, optimizer, settings, fold, epoch, accelerator, bar)
            found = _evaluate(model, validation, settings.batch_size)
            schedule.step(found["losses"]["total"])
            curves.append(
                {
                    "epoch": epoch + 1,
                    "learning_rate": optimizer.param_groups[0]["lr"],
                    "train": losses,
                    "validation": found["losses"],
                    "validation_uar": found["uar"],
                }
            )
            bar.set_postfix(epoch=epoch + 1, val_uar=f"{found['uar']:.1f}")
            # Validation UAR alone ties often among few utterances; the lower loss decides then.
            if (found["uar"], -found["losses"]["task"]) > best:
                best = (found["uar"], -found["losses"]["task"])
                save_model(folder / MODEL_NAME, method, {**_model_record(cell), "epoch": epoch + 1})
            seconds = spent + time.perf_counter() - started
            record = {
                "cell": cell,
                "curves": curves,
                "best": best,
                "seconds": seconds,
                "schedule": schedule.state_dict(),
            }
            save_state(folder / STATE_NAME, method, optimizer, record)
    chosen, record = load_model(folder / MODEL_NAME)
    predictions = predict(accelerator.prepare(chosen), data, fold.test, settings.batch_size)
    truth = data.labels[fold.test]
    result = {
        "cell": cell,
        "test_speaker": fold.test_speaker,
        "validation_speaker": fold.validation_speaker,
        "utterances": {
            "train": len(training.training_indices(0)),
            "validation": len(fold.validation),
            "test": len(fold.test),
        },
        "references": training.reference_keys(),
        "best_epoch": record["epoch"],
        "validation_uar": best[0],
        "uar": uar(truth, predictions.argmax(1)),
        "seconds": round(spent + time.perf_counter() - started, 1),
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
    settings: TrainingSettings,
    fold: Fold,
    epoch: int,
    accelerator: Accelerator,
    bar: Any,
) -> dict[str, float]:
    torch.manual_seed(_seed(settings.seed, fold.number, epoch))
    places = torch.tensor(side.training_indices(epoch))
    places = places[torch.randperm(len(places))]
    mean = _MeanLosses()
    model.train()
    for chosen in torch.split(places, settings.batch_size):
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
    return {"losses": mean.result(), "uar": uar(torch.cat(truth).cpu(), torch.cat(predicted).cpu())}


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


def _model_record(cell: dict[str, Any]) -> dict[str, Any]:
    settings = cell["settings"]
    chosen = {"encoder": settings["encoder"], "max_frames": settings["max_frames"], "classes": list(EMOTIONS)}
    return {
        "method": cell["method"],
        "config": cell["config"],
        "corpus": cell["corpus"],
        "fold": cell["fold"],
        **chosen,
    }


def _check_same(cell: dict[str, Any], found: dict[str, Any], folder: Path) -> None:
    """Refuses to mix a run with what another one left in its folder."""
    wanted, there = _flat(cell), _flat(found)
    if differing := sorted(key for key in wanted.keys() | there.keys() if wanted.get(key) != there.get(key)):
        what = ", ".join(f"{key} {there.get(key)!r} there and {wanted.get(key)!r} asked for" for key in differing)
        raise RunError(f"{folder} holds a training of other settings ({what}): choose another --out, or delete it")


def _flat(cell: dict[str, Any]) -> dict[str, Any]:
    """One level of names, so that a message can name the one setting that differs."""
    return {
        k: v for key, value in cell.items() for k, v in (value if isinstance(value, dict) else {key: value}).items()
    }


def _finite(value: float) -> bool:
    return abs(value) < float("inf")


def _seed(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:7])
