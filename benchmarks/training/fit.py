"""One training loop for all methods: a fold, from the first batch to the model that the validation speaker chose."""

import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau
from tqdm import tqdm

from backbones import create_encoder
from benchmarks.corpora import EMOTIONS
from benchmarks.data import Fold, Side, SpeechData
from benchmarks.errors import RunError
from benchmarks.methods import Losses, Method, create_method, method_class
from benchmarks.scores.uar import uar
from benchmarks.training.adam import AdamStep, make_adam
from benchmarks.training.checkpoint import MODEL_NAME, STATE_NAME, load_state, save_model, save_state
from benchmarks.training.device import put_on_device
from benchmarks.training.settings import TrainingSettings, check_same, derive_seed
from benchmarks.training.statistics import fit_statistics

WATCH_EVERY = 5
"""Epochs between two looks at the gradient of each loss on the encoder."""


def make_method(name: str, config: dict[str, Any], data: SpeechData, fold: Fold, settings: TrainingSettings) -> Method:
    """A method with the weights that seed and fold give it."""
    if method_class(name).needs_speakers:
        config = {**config, "num_speakers": len({data.utterances[i].speaker for i in fold.train})}
    torch.manual_seed(derive_seed(settings.seed, fold.number, "weights"))
    return create_method(name, create_encoder(settings.encoder), len(EMOTIONS), **config)


def fit(
    method: Method,
    data: SpeechData,
    fold: Fold,
    cell: dict[str, Any],
    settings: TrainingSettings,
    folder: Path,
    accelerator: Accelerator,
) -> dict[str, Any]:
    """Trains a method on a fold to its last epoch; the model of the best epoch is in ``folder``.

    A killed call starts again at the epoch it was in and gives the same numbers as an undisturbed one: each epoch draws
    its random numbers from a seed of its own, and the state at its start is on disk.

    Args:
        method: from :func:`make_method`.
        data: the corpus' utterances and features.
        fold: indices into them; of the test side nothing is used but the sound, by a method with ``target_rows``.
        cell: what identifies the training, kept with state and model.
        settings: the budget.
        folder: gets ``best.safetensors`` and, while training, ``state.safetensors``.
        accelerator: device and precision.

    Returns:
        How it went: utterances, references, the best epoch and the curves, as JSON can hold it.

    Raises:
        RunError: the folder holds a training of other settings, or the loss is not finite.
        NeutralReferenceError: training speakers without neutral speech, and ``missing_neutral="error"``.
    """
    started = time.perf_counter()
    training = Side(data, fold.train, method, settings.missing_neutral, settings.seed, fold.test)
    validation = Side(data, fold.validation, method, seed=settings.seed)
    trained = len(training.training_indices(0))
    if trained < 2:
        raise RunError(f"fold {fold.number}: {trained} utterances to train on; expected at least 2")
    put_on_device(method, settings, accelerator.device)
    optimizer = make_adam(method, settings.learning_rate)
    # torch's patience counts the bad epochs that are let pass: the paper's 20th is the first that is not.
    schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=settings.patience - 1, threshold=0.0)
    curves: list[dict[str, Any]] = []
    if (folder / STATE_NAME).is_file():
        state = load_state(folder / STATE_NAME, method, optimizer)
        check_same(cell, state["cell"], folder)
        schedule.load_state_dict(state["schedule"])
        curves = state["curves"]
        started -= state["seconds"]
    batches = -(-trained // settings.batch_size) * len(method.phases)
    bar = tqdm(
        total=settings.epochs * batches,
        initial=len(curves) * batches,
        desc=f"{cell['method']} fold {fold.number}",
        unit="batch",
        mininterval=1,
        leave=False,
    )
    step = AdamStep(method, optimizer, accelerator)
    with bar:
        for epoch in range(len(curves), settings.epochs):
            torch.manual_seed(derive_seed(settings.seed, fold.number, epoch))
            found = {"epoch": epoch + 1, **train_epoch(training, step, settings, epoch, batches, bar)}
            fit_statistics(method, training, epoch, settings, accelerator)
            found |= evaluate(method, validation, settings.batch_size, accelerator)
            schedule.step(found["validation"]["total"])
            found["learning_rate"] = optimizer.param_groups[0]["lr"]
            bar.set_postfix(epoch=epoch + 1, val_uar=f"{found['validation_uar']:.1f}")
            if all(_rank(found) > _rank(earlier) for earlier in curves):
                save_model(folder / MODEL_NAME, method, {**_model_record(cell, method), "epoch": epoch + 1})
            curves.append(found)
            seconds = time.perf_counter() - started
            state = {"cell": cell, "curves": curves, "seconds": seconds, "schedule": schedule.state_dict()}
            save_state(folder / STATE_NAME, method, optimizer, state)
    best = max(curves, key=_rank)
    return {
        "utterances": {"train": trained, "validation": len(fold.validation), "test": len(fold.test)},
        "references": training.reference_keys(),
        "best_epoch": best["epoch"],
        "validation_uar": best["validation_uar"],
        "seconds": round(time.perf_counter() - started, 1),
        "curves": curves,
    }


def training_step(method: Method, batch: dict[str, Any], step: AdamStep) -> Losses:
    """One batch, in the accelerator's precision; returns the losses to log."""
    with step.accelerator.autocast():
        return method.training_step(batch, step)


def _rank(epoch: dict[str, Any]) -> tuple[float, float]:
    """Of epochs the best is wanted. Validation UAR alone ties often among few utterances; the lower loss decides then."""
    return epoch["validation_uar"], -epoch["validation"]["task"]


def train_epoch(
    side: Side, step: AdamStep, settings: TrainingSettings, epoch: int, batches: int, bar: Any
) -> dict[str, Any]:
    """One epoch, with all phases of the method.

    Args:
        side: what is trained on.
        step: the method with its optimiser.
        settings: the budget.
        epoch: from 0.
        batches: of one epoch, over all phases.
        bar: a tqdm bar, moved on by one a batch.

    Returns:
        Mean losses and the gradients' norms, as JSON can hold them.

    Raises:
        RunError: a loss is not finite.
    """
    mean, number = _MeanLosses(), 0
    step.method.train()
    step.gradient_norms = {}
    for phase in step.method.phases:
        step.phase = phase
        for i, batch in enumerate(side.epoch(epoch, settings.batch_size)):
            step.progress = (epoch + number / batches) / settings.epochs
            # One batch now and then tells enough; each costs a backward pass a loss.
            step.watching = i == 0 and epoch % WATCH_EVERY == 0
            mean.add(training_step(step.method, batch, step), len(batch["labels"]))
            number += 1
            bar.update()
    losses = mean.result()
    if not all(map(_finite, losses.values())):
        raise RunError(
            f"epoch {epoch + 1}: the loss is not finite ({', '.join(f'{k} {v:.3g}' for k, v in losses.items())}); "
            "use --precision fp32, or look for silent or damaged recordings"
        )
    return {"train": losses, "gradient_norms": {name: float(norm) for name, norm in step.gradient_norms.items()}}


def evaluate(method: Method, side: Side, batch_size: int, accelerator: Accelerator) -> dict[str, Any]:
    """Mean losses under ``validation`` and the UAR in percent under ``validation_uar``, in evaluation mode."""
    mean, predicted, truth = _MeanLosses(), [], []
    method.eval()
    with torch.inference_mode(), accelerator.autocast():
        for places in torch.split(torch.arange(len(side.indices)), batch_size):
            batch = side.batch(places.tolist())
            output = method(**batch)
            mean.add({"total": output.loss, **output.losses}, len(places))
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

    def add(self, losses: Losses, rows: int) -> None:
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach().float() * rows
            self.rows[name] = self.rows.get(name, 0) + rows

    def result(self) -> dict[str, float]:
        return {name: float(total) / self.rows[name] for name, total in self.sums.items()}


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
