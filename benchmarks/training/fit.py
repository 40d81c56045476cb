"""One training loop for all methods: a fold, from the first batch to the model that the validation speaker chose."""

import time
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau
from tqdm import tqdm

from backbones import FeatureEncoder, create_encoder
from benchmarks.corpora import EMOTIONS
from benchmarks.data import Fold, FoldSide, SpeechData
from benchmarks.errors import RunError
from benchmarks.methods import Batch, Losses, Method, create_method, method_class
from benchmarks.output.run_folder import MODEL_NAME
from benchmarks.scores.uar import uar
from benchmarks.training.adam import AdamStep, make_adam
from benchmarks.training.batch_norm_statistics import fit_statistics
from benchmarks.training.checkpoint import (
    STATE_NAME,
    ModelRecord,
    TrainingState,
    load_state,
    save_model,
    save_state,
)
from benchmarks.training.device import compile_encoder, put_on_device
from benchmarks.training.identity import TrainingIdentity, check_same
from benchmarks.training.settings import TrainingSettings, derive_seed
from benchmarks.training.story import Epoch, SideSizes, TrainingStory

WATCH_EVERY = 5
"""Epochs between two looks at the gradient of each loss on the encoder."""


def make_method(
    name: str, config: Mapping[str, object], data: SpeechData, fold: Fold, settings: TrainingSettings
) -> Method:
    """A method with the weights that seed and fold give it; on encoded utterances its encoder is what learns on top."""
    if method_class(name).needs_speakers:
        config = {**config, "num_speakers": len({data.utterances[i].speaker for i in fold.train})}
    torch.manual_seed(derive_seed(settings.seed, fold.number, "weights"))
    if data.input_kind == "encoded":
        encoder: Any = FeatureEncoder(*data.features[0].shape)
    else:
        encoder = create_encoder(settings.encoder.name, **settings.encoder.options)
    return create_method(name, encoder, len(EMOTIONS), **config)


def fit(
    method: Method, data: SpeechData, fold: Fold, identity: TrainingIdentity, folder: Path, accelerator: Accelerator
) -> TrainingStory:
    """Trains a method on a fold to its last epoch; the model of the best epoch is in ``folder``.

    A killed call starts again at the epoch it was in and gives the same numbers as an undisturbed one: each epoch draws
    its random numbers from a seed of its own, and the state at its start is on disk.

    Args:
        method: from :func:`make_method`.
        data: the corpus' utterances and features.
        fold: indices into them; the test side is not used, but for its sound by a method with ``target_rows``.
        identity: which training it is, its settings among it; kept with state and model.
        folder: gets ``best.safetensors`` and, while training, ``state.safetensors``.
        accelerator: device and precision.

    Returns:
        How the training went.

    Raises:
        RunError: the folder holds a training of other settings, or a number is not finite.
        NeutralReferenceError: training speakers without neutral speech, and ``missing_neutral="error"``.
    """
    started = time.perf_counter()
    settings = identity.settings
    training = FoldSide(data, fold.train, method, settings.missing_neutral, settings.seed, fold.test)
    validation = FoldSide(data, fold.validation, method, seed=settings.seed, enrol=settings.enrol)
    trained = len(training.training_places(0))
    if trained < 2:
        raise RunError(f"fold {fold.number}: {trained} utterances to train on; expected at least 2")
    put_on_device(method, accelerator.device)
    if settings.compile:
        compile_encoder(method)
    optimizer = make_adam(method, settings.learning_rate)
    # torch's patience counts the bad epochs that are let pass: the paper's 20th is the first that is not.
    schedule = ReduceLROnPlateau(optimizer, factor=0.5, patience=settings.patience - 1, threshold=0.0)
    curves: list[Epoch] = []
    # A state without the model that its epochs chose is that of a folder which was removed amid the training.
    if (folder / STATE_NAME).is_file() and (folder / MODEL_NAME).is_file():
        state = load_state(folder / STATE_NAME, method, optimizer)
        check_same(identity, state.identity, folder)
        schedule.load_state_dict(dict(state.schedule))
        curves = list(state.curves)
        started -= state.seconds
    batches = -(-trained // settings.batch_size) * len(method.phases)
    bar = tqdm(
        total=settings.epochs * batches,
        initial=len(curves) * batches,
        desc=f"{identity.method} fold {fold.number}",
        unit="batch",
        mininterval=1,
        leave=False,
    )
    step = AdamStep(method, optimizer, accelerator)
    with bar:
        for number in range(len(curves), settings.epochs):
            torch.manual_seed(derive_seed(settings.seed, fold.number, number))
            losses, gradient_norms = train_epoch(training, step, settings, number, batches, bar)
            fit_statistics(method, training, number, settings, accelerator)
            validation_losses, validation_uar = evaluate(method, validation, settings.batch_size, accelerator)
            schedule.step(validation_losses["total"])
            rate = optimizer.param_groups[0]["lr"]
            epoch = Epoch(number + 1, losses, validation_losses, validation_uar, gradient_norms, rate)
            bar.set_postfix(epoch=epoch.epoch, val_uar=f"{validation_uar:.1f}")
            if all(epoch.rank > earlier.rank for earlier in curves):
                save_model(folder / MODEL_NAME, method, _model_record(identity, method, epoch.epoch))
            curves.append(epoch)
            state = TrainingState(identity, curves, time.perf_counter() - started, schedule.state_dict())
            save_state(folder / STATE_NAME, method, optimizer, state)
    best = max(curves, key=lambda epoch: epoch.rank)
    return TrainingStory(
        test_speaker=fold.test_speaker,
        validation_speaker=fold.validation_speaker,
        utterances=SideSizes(trained, len(validation.indices), len(fold.test)),
        references=training.reference_keys(),
        best_epoch=best.epoch,
        validation_uar=best.validation_uar,
        seconds=round(time.perf_counter() - started, 1),
        curves=curves,
    )


def training_step(method: Method, batch: Batch, step: AdamStep) -> Losses:
    """One batch, in the accelerator's precision; returns the losses to log."""
    with step.accelerator.autocast():
        return method.training_step(batch, step)


def train_epoch(
    side: FoldSide, step: AdamStep, settings: TrainingSettings, epoch: int, batches: int, bar: Any
) -> tuple[dict[str, float], dict[str, float]]:
    """One epoch, with all phases of the method.

    Args:
        side: what is trained on.
        step: the method with its optimiser.
        settings: the budget.
        epoch: the number of the epoch, from 0.
        batches: the number of batches in an epoch, over all phases.
        bar: a tqdm bar, moved on by one a batch.

    Returns:
        The mean losses, and the norms of the losses' gradients on the encoder where they were looked at.

    Raises:
        RunError: one of these numbers is not finite.
    """
    running, number = _MeanLosses(), 0
    step.method.train()
    step.gradient_norms = {}
    for phase in step.method.phases:
        step.phase = phase
        for i, batch in enumerate(side.epoch(epoch, settings.batch_size)):
            step.progress = (epoch + number / batches) / settings.epochs
            # One batch now and then tells enough; each costs a backward pass a loss.
            step.watching = i == 0 and epoch % WATCH_EVERY == 0
            running.add(training_step(step.method, batch, step), len(batch["labels"]))
            number += 1
            bar.update()
    losses = running.means()
    norms = {name: float(norm) for name, norm in step.gradient_norms.items()}
    _check_finite(f"epoch {epoch + 1}: the loss is not finite", losses)
    _check_finite(f"epoch {epoch + 1}: the gradient of a loss is not finite", norms)
    return losses, norms


def evaluate(
    method: Method, side: FoldSide, batch_size: int, accelerator: Accelerator
) -> tuple[dict[str, float], float]:
    """The mean losses over a side and its UAR in percent, in evaluation mode.

    Raises:
        RunError: a loss is not finite.
    """
    running, predicted, truth = _MeanLosses(), [], []
    method.eval()
    with torch.inference_mode(), accelerator.autocast():
        for places in torch.split(torch.arange(len(side.indices)), batch_size):
            batch = side.batch(places.tolist())
            output = method(**batch)
            running.add({"total": output.loss, **output.losses}, len(places))
            predicted.append(output.logits.argmax(1))
            truth.append(batch["labels"])
    losses = running.means()
    _check_finite("the validation loss is not finite", losses)
    return losses, uar(torch.cat(truth).cpu(), torch.cat(predicted).cpu())


class _MeanLosses:
    """The mean of each loss over utterances, summed on the device so that no step waits for a number."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.rows: dict[str, int] = {}

    def add(self, losses: Losses, rows: int) -> None:
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach().float() * rows
            self.rows[name] = self.rows.get(name, 0) + rows

    def means(self) -> dict[str, float]:
        return {name: float(total) / self.rows[name] for name, total in self.sums.items()}


def _model_record(identity: TrainingIdentity, method: Method, epoch: int) -> ModelRecord:
    return ModelRecord(
        method=identity.method,
        config=identity.config,
        encoder=identity.settings.encoder,
        classes=list(EMOTIONS),
        max_frames=identity.settings.max_frames,
        onset=identity.settings.onset,
        blueprint=getattr(method.encoder, "blueprint", None),
        corpus=identity.corpus,
        fold=identity.fold,
        epoch=epoch,
    )


def _check_finite(what: str, numbers: Mapping[str, float]) -> None:
    if not all(map(isfinite, numbers.values())):
        raise RunError(
            f"{what} ({', '.join(f'{name} {value:.3g}' for name, value in numbers.items())}); "
            "use --precision fp32, or look for silent or damaged recordings"
        )
