"""What makes a training this one and no other, and the refusal to mix it with another."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.errors import RunError
from benchmarks.training.settings import TrainingSettings


@dataclass(frozen=True)
class CorpusIdentity:
    """A corpus as a record names it, with what tells its utterances from others."""

    name: str
    """What the run calls the corpus."""

    corpus: str
    """Which corpus it is, a name that ``dsnet corpora`` lists."""

    utterances: int
    """The number of utterances in use."""

    sha256: str
    """The first 16 hex digits of a digest of the utterances' keys, speakers and labels."""


@dataclass(frozen=True)
class TrainingIdentity:
    """All that the result of a training depends on, besides the code and the machine."""

    corpus: CorpusIdentity
    """What is trained on."""

    method: str
    """A name of ``METHODS`` or ``VARIANTS``."""

    config: Mapping[str, object]
    """The method's settings, as its ``config()`` gives them; ``num_speakers`` among them where the fold decides on it."""

    protocol: str
    """A name of ``PROTOCOLS``: how the corpus is divided into folds."""

    fold: int
    """The number of the fold in the protocol, from 0."""

    settings: TrainingSettings
    """Budget, encoder and seed."""


def check_same(
    asked: TrainingIdentity | CorpusIdentity, there: TrainingIdentity | CorpusIdentity, folder: Path
) -> None:
    """Refuses to mix a training with what another one left in its folder.

    Args:
        asked: what is to be trained, or tested on.
        there: the same, as the folder's record has it.
        folder: where that record is, for the message.

    Raises:
        RunError: names each setting that differs, with both values.
    """
    wanted, present = _flat(asdict(asked)), _flat(asdict(there))
    if differing := sorted(key for key in wanted.keys() | present.keys() if wanted.get(key) != present.get(key)):
        what = ", ".join(f"{key} {present.get(key)!r} there and {wanted.get(key)!r} asked for" for key in differing)
        raise RunError(f"{folder} holds a training of other settings ({what}): choose another --out, or delete it")


def _flat(identity: Mapping[str, Any]) -> Mapping[str, Any]:
    """One level of names, so that a message can name the one setting that differs."""
    return {
        name: setting
        for key, value in identity.items()
        for name, setting in (value if isinstance(value, dict) else {key: value}).items()
    }
