"""What identifies a training: its settings, what must agree for it to go on, and the seeds that follow."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import RunError


@dataclass(frozen=True)
class TrainingSettings:
    """The budget and the schedule; defaults are the paper's (section 4.2).

    ``encoder`` is a name that :func:`backbones.create_encoder` takes; ``max_frames`` are frames of 10 ms; ``patience`` is the number of epochs in a row without a lower validation loss after
    which the learning rate is halved; ``precision`` is ``"fp32"`` or ``"bf16"`` (autocast); ``missing_neutral`` says what
    happens to training speakers without neutral speech, see :class:`dsnet_plugin.NeutralReferences`; ``compile`` puts the
    encoder through ``torch.compile``.
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
    compile: bool = False


def check_same(cell: dict[str, Any], found: dict[str, Any], folder: Path) -> None:
    """Refuses to mix a training with what another one left in its folder.

    Args:
        cell: what identifies the training: corpus, method, fold, settings.
        found: the same, from the folder.
        folder: for the message.

    Raises:
        RunError: names each setting that differs, with both values.
    """
    wanted, there = _flat(cell), _flat(found)
    if differing := sorted(key for key in wanted.keys() | there.keys() if wanted.get(key) != there.get(key)):
        what = ", ".join(f"{key} {there.get(key)!r} there and {wanted.get(key)!r} asked for" for key in differing)
        raise RunError(f"{folder} holds a training of other settings ({what}): choose another --out, or delete it")


def _flat(cell: dict[str, Any]) -> dict[str, Any]:
    """One level of names, so that a message can name the one setting that differs."""
    return {
        k: v for key, value in cell.items() for k, v in (value if isinstance(value, dict) else {key: value}).items()
    }


def derive_seed(*parts: object) -> int:
    """A seed that is a matter of its parts alone, such as a run's seed, a fold and an epoch."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, parts)).encode()).digest()[:7], "big")
