"""Saving and loading a head or a wrapped model: safetensors for tensors, JSON for settings, never pickle."""

import json
import os
import threading
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from dsnet_plugin.config import DisentangleConfig
from dsnet_plugin.digests import agrees, digests, precisions
from dsnet_plugin.distributed import whole
from dsnet_plugin.errors import CheckpointError, WrapError
from dsnet_plugin.head import DisentangleHead
from dsnet_plugin.location import Location
from dsnet_plugin.slot import HeadBehind, HeadSlot
from dsnet_plugin.task import Criterion, LeftBehind
from dsnet_plugin.two_lines import attach
from dsnet_plugin.wrapped_model import WrappedModel

CONFIG_NAME = "dsnet_config.json"
WEIGHTS_NAME = "dsnet.safetensors"


def save_pretrained(module: DisentangleHead | WrappedModel, folder: str | Path) -> None:
    """Writes a head, or the part of a wrapped model that its base does not have, into a folder, which is made if need be.

    For a wrapped model it writes the head, all buffers (batch-norm statistics), every trainable parameter, and every
    frozen one that has changed since wrapping. The other parameters are left to whoever made the model; their shapes and
    digests are written, so that loading refuses another base.

    The criterion of the task is not saved, only its name.

    Args:
        module: a head or a wrapped model. Where it is sharded (FSDP2), every rank must call; the first one writes.
        folder: gets ``dsnet_config.json`` and ``dsnet.safetensors``; files of these names are replaced, each at once.

    Raises:
        WrapError: neither of the two, such as a wrapped model inside DDP.
        CheckpointError: a parameter has no content (on the meta device).
    """
    if not isinstance(module, DisentangleHead | WrappedModel):
        raise WrapError(f"a {type(module).__name__} is no head and no wrapped model: save what wrap() gave")
    head = module.head if isinstance(module, WrappedModel) else module
    record: dict[str, Any] = {"in_features": head.in_features, "num_classes": head.num_classes}
    record["config"] = json.loads(head.config.to_json())
    record["criterion"] = None if head.task_loss.criterion is None else head.task_loss.name
    state = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    for name in _of_criterion(state):
        del state[name]
    sharded = any(whole(value) is not value for value in state.values())
    if isinstance(module, WrappedModel):
        model = module.model.backbone if isinstance(module.model, HeadBehind) else module.model
        base = {name: _described(state.pop(name)) for name in _untouched(module)}
        record["model"] = {"class": type(model).__name__, **asdict(module.location), "base": base}
    if empty := [name for name, value in state.items() if value.is_meta]:
        raise CheckpointError(f"{_listed(empty)} have no content (meta device): load the model's weights before saving")
    weights = save({name: whole(value.detach()).cpu().clone().contiguous() for name, value in state.items()})
    if not sharded or dist.get_rank() == 0:
        write_bytes(Path(folder) / WEIGHTS_NAME, weights)
        write_bytes(Path(folder) / CONFIG_NAME, (json.dumps(record, indent=2) + "\n").encode())
    if sharded:
        dist.barrier()  # so that whichever rank reads the folder next finds it whole


def load_pretrained(folder: str | Path, model: nn.Module | None = None, criterion: Criterion | None = None) -> Any:
    """Reads what :func:`save_pretrained` wrote.

    Args:
        folder: the folder that :func:`save_pretrained` wrote.
        model: a model of the saved architecture with the weights from before it was wrapped, in any floating-point
            dtype. It gets the head and the trained parameters, in place; an error leaves it unchanged.
        criterion: the task's loss; needed only to compute a loss with a head that was trained with another criterion
            than cross-entropy.

    Returns:
        Without ``model`` the :class:`DisentangleHead`, on the CPU and in the saved dtype; with ``model`` the
        :class:`WrappedModel`, on the model's device and in its dtype. Both are in eval mode.

    Raises:
        CheckpointError: a file is missing, damaged or of something else; tensors that do not fit, and weights of another
            base, are counted and named.
        ConfigError: settings that this release does not know.
        HeadNotFoundError, ShapeError: the model has no classifier of the saved name, or one of another width.
        WrapError: the model is wrapped already.

    Example:
        >>> import torch
        >>> from tempfile import TemporaryDirectory
        >>> head, h = DisentangleHead(in_features=16, num_classes=4), torch.randn(2, 16)
        >>> with TemporaryDirectory() as folder:
        ...     save_pretrained(head, folder)
        ...     loaded = load_pretrained(folder)
        >>> torch.equal(loaded(h), head.eval()(h))
        True
    """
    record, tensors = _read(Path(folder))
    if criterion is None and record.criterion is not None:
        criterion = LeftBehind(record.criterion)
    head = DisentangleHead(record.in_features, record.num_classes, record.config, criterion)
    source, saved = str(Path(folder) / WEIGHTS_NAME), record.model
    if (model is None) != (saved is None):
        what = "a wrapped model: give the model to put it in" if saved else "a head alone: load it without a model"
        raise CheckpointError(f"{folder} holds {what}, load_pretrained(folder{', model' if saved else ''})")
    if model is None or saved is None:
        load_tensors(head, _with_criterion(head, tensors), source)
        return head.to(tensors["p_er.projection.weight"].dtype).eval()
    if any(isinstance(module, HeadSlot) for module in model.modules()):
        raise WrapError(f"this {type(model).__name__} is wrapped already: give the model that unwrap() gives back")
    wrapped = attach(model, head, saved.location)
    try:
        state, base = wrapped.state_dict(), saved.base
        fits = {name for name, (gap, _) in base.items() if name in state and state[name].shape == gap.shape}
        gaps = {name: gap for name, (gap, _) in base.items() if name not in fits}
        tensors = _with_criterion(wrapped, tensors | gaps | {name: state[name] for name in fits})
        source = f"{source}, of a {saved.class_name} and given a {type(model).__name__},"
        check_tensors(wrapped, tensors, source)
        if others := [name for name in sorted(fits) if not agrees(state[name], base[name][1])]:
            raise CheckpointError(
                f"{source} was trained on another base: {len(others)} of {len(base)} parameters that it leaves to the model "
                f"differ ({_listed(others)}); give the model with the weights that it had when it was wrapped"
            )
        load_checked(wrapped, tensors)
    except BaseException:
        wrapped.unwrap()
        raise
    return wrapped.eval()


@dataclass(frozen=True)
class _SavedModel:
    """What a record says of the model that a head was trained in."""

    class_name: str
    """The name of the model's class."""

    location: Location
    """Where the head stood."""

    base: dict[str, tuple[Tensor, dict[str, str]]]
    """For each parameter that was left to the model a tensor of its shape without content, and its digests by dtype."""


@dataclass(frozen=True)
class _Record:
    """What ``dsnet_config.json`` holds, checked."""

    in_features: int
    """D, the width of the head."""

    num_classes: int
    """The number of classes, or of outputs with a criterion."""

    config: DisentangleConfig
    """The head's settings."""

    criterion: str | None
    """The name of the task's loss; None for cross-entropy."""

    model: _SavedModel | None
    """The model around the head; None for a head alone."""


def _read(folder: Path) -> tuple[_Record, dict[str, Tensor]]:
    """The record and the tensors in a folder."""
    path, weights_path = folder / CONFIG_NAME, folder / WEIGHTS_NAME
    for file in (path, weights_path):
        if not file.is_file():
            raise CheckpointError(f"no {file.name} in {folder}: expected a folder that save_pretrained wrote")
    model = None
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        widths, config = [written["in_features"], written["num_classes"]], json.dumps(written["config"])
        criterion = written.get("criterion")
        if (place := written.get("model")) is not None:
            names = tuple(map(str, place["names"]))
            location = Location(names, widths[0], place["num_classes"], place["behind"])
            base = {name: _checked(of["shape"], of["digests"]) for name, of in place["base"].items()}
            model = _SavedModel(place["class"], location, base)
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise CheckpointError(f"{path} is not a head's record ({error!r}): save the head again") from error
    if not all(type(width) is int and 0 < width < 2**20 for width in widths):
        raise CheckpointError(f"{path} has the widths {widths}; expected whole numbers: save the head again")
    settings = DisentangleConfig.from_json(config)
    record = _Record(widths[0], widths[1], settings, None if criterion is None else str(criterion), model)
    try:
        return record, load(weights_path.read_bytes())
    except SafetensorError as error:
        raise CheckpointError(f"{weights_path} is damaged ({error}): save the head again") from error


def _untouched(wrapped: WrappedModel) -> list[str]:
    """The backbone's parameters, under each of their names, that are frozen and hold what they held at wrapping."""
    head = {id(parameter) for parameter in wrapped.head.parameters()}
    frozen = {
        name: value
        for name, value in wrapped.named_parameters(remove_duplicate=False)
        if not value.requires_grad and id(value) not in head
    }
    before = wrapped.base_digests
    # Some wrappers, such as those of adapters, move a parameter to another name: then its content identifies it.
    contents = {*before.values()}
    return [
        name
        for name, now in digests(frozen.items()).items()
        if now is not None and (before[name] == now if name in before else now in contents)
    ]


def _checked(shape: list[int], recorded: dict[str, str]) -> tuple[Tensor, dict[str, str]]:
    """A tensor of the recorded shape without content, which stands in for a parameter that a model lacks; and the digests."""
    dtype, *_ = recorded
    return torch.empty(shape, device="meta", dtype=getattr(torch, dtype)), recorded


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"shape": [*tensor.shape], "digests": precisions(tensor)}


def _of_criterion(names: Collection[str]) -> set[str]:
    """The names of the criterion's tensors; the criterion stands beside P_er wherever the head is."""
    heads = {name.removesuffix("p_er.projection.weight") for name in names if name.endswith("p_er.projection.weight")}
    return {name for name in names if any(name.startswith(f"{head}task_loss.") for head in heads)}


def _with_criterion(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, and the module's own of the criterion, which no file has."""
    state = module.state_dict()
    return {**tensors, **{name: state[name] for name in _of_criterion(state)}}


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Loads a whole state, parameters and buffers, or nothing.

    Args:
        module: gets the tensors.
        tensors: by the names of ``module.state_dict()``.
        source: where they come from, for the message.

    Raises:
        CheckpointError: see :func:`check_tensors`.
    """
    check_tensors(module, tensors, source)
    load_checked(module, tensors)


def load_checked(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Loads tensors that fit; a module that asks which version of itself wrote them is told its own."""
    state = module.state_dict()  # its metadata holds the versions
    state.update(tensors)
    module.load_state_dict(state)


def check_tensors(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Refuses tensors that are not the whole state of a module, see :func:`load_tensors`.

    Raises:
        CheckpointError: tensors are missing, surplus or of another shape; their number and names are given.
    """
    # What else a module keeps (get_extra_state) is neither saved nor expected: it is the base's.
    expected = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
    kinds = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "surplus": sorted(tensors.keys() - expected.keys()),
        "of another shape": [
            f"{name} {tuple(tensors[name].shape)} for {tuple(value.shape)}"
            for name, value in expected.items()
            if name in tensors and tensors[name].shape != value.shape
        ],
    }
    problems = [f"{len(names)} {kind} ({_listed(names)})" for kind, names in kinds.items() if names]
    if problems:
        raise CheckpointError(f"{source} belongs to another {type(module).__name__}: {', '.join(problems)}")


def _listed(names: list[str], shown: int = 6) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def write_bytes(path: Path, content: bytes, durable: bool = True) -> None:
    """Writes a file whole or not at all: beside it first, then in its place. Makes the folder.

    Args:
        path: the file.
        content: all of it.
        durable: wait until it is on the disk; without, a power failure may cost it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of this thread alone: two recordings of one content are written to one place of a cache at the same time.
    beside = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        with beside.open("wb") as stream:
            stream.write(content)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        beside.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # as of a full disk
            error.filename = str(path)
        raise
    finally:
        beside.unlink(missing_ok=True)
