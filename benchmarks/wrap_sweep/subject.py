"""What is wrapped: a model of a library with one batch of its inputs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from dsnet_plugin import DisentangleConfig

NUM_CLASSES = 4
BATCH_SIZE = 2


@dataclass(frozen=True)
class Subject:
    """A model to wrap."""

    family: str
    """What the model is one of, such as a module of timm."""
    model: nn.Module
    """The model, with random weights and ``NUM_CLASSES`` classes."""
    inputs: tuple[Any, ...] | Mapping[str, Tensor]
    """Inputs of its forward for ``BATCH_SIZE`` utterances: positional arguments, or keyword arguments."""
    width: int = 0
    """The width of the features in front of its classifier, from another source than ``wrap``; 0 where it is to be refused."""
    config: DisentangleConfig | None = None
    """Settings of the head; None stands for the default."""


@dataclass(frozen=True)
class Library:
    """The models of one library."""

    names: Callable[[], Sequence[str]]
    """Gives the names of the models; raises ImportError where the library is not installed."""
    subject: Callable[[str], Subject]
    """Makes the model of a name."""
    refused: frozenset[str] = frozenset()
    """Names of the models that ``wrap`` has to refuse."""
