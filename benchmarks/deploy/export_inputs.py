"""What an exported model takes: its inputs' names, shapes and free axes, and random examples of them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.export import Dim

from backbones import num_samples
from backbones.frontend import NUM_MEL_BINS

BATCHES = (1, 3)
"""The sizes of the batches on which an exported model is compared."""


class Inputs(NamedTuple):
    """What a model takes.

    ``kind`` is its encoder's ``input_kind``; an utterance has ``frames`` frames, or with ``any_length`` at least
    ``shortest``, and with ``bounded`` at most ``frames``. Waveforms are as long as their frames span. ``reference`` is D, the
    width of the features that a :class:`~benchmarks.deploy.referred.ReferredModel` takes beside; 0 for any other model.
    """

    kind: str
    frames: int
    shortest: int
    any_length: bool = True
    bounded: bool = False
    reference: int = 0

    @property
    def names(self) -> list[str]:
        """The inputs in their order."""
        return ["inputs", "neutral_features", "neutral_mask"] if self.reference else ["inputs"]

    @property
    def output_names(self) -> list[str]:
        """The outputs in their order."""
        return ["logits", "features"] if self.reference else ["logits"]

    def example(self, rows: int, frames: int, known: int = 0) -> tuple[Tensor, ...]:
        """Random inputs, (rows, 3, frames, 80) or (rows, samples); the same ones at each call.

        A reference is there for every other row, from the row ``known`` (0 or 1) on.
        """
        shape = (rows, num_samples(frames)) if self.kind == "waveform" else (rows, 3, frames, NUM_MEL_BINS)
        draw = torch.Generator().manual_seed(frames)
        inputs = torch.randn(shape, generator=draw)
        if not self.reference:
            return (inputs,)
        return inputs, torch.randn(rows, self.reference, generator=draw), torch.arange(rows) % 2 == known

    def traced(self) -> tuple[Tensor, ...]:
        """The inputs that a model is exported with."""
        return self.example(2, 2 * self.shortest + 11 if self.any_length else self.frames)

    def compared(self) -> Iterator[tuple[Tensor, ...]]:
        """The inputs on which an exported model is compared: each row with a reference and without, if it takes one."""
        for rows in BATCHES:
            for frames in self.checked_frames():
                for known in (0, 1) if self.reference else (0,):
                    yield self.example(rows, frames, known)

    def dynamic_shapes(self) -> tuple[dict[int, Any], ...]:
        """The free axes, for ``torch.export``."""
        batch = Dim("batch", min=1)
        axes: dict[int, Any] = {0: batch}
        if self.any_length and self.kind == "waveform":
            longest = {"max": num_samples(self.frames)} if self.bounded else {}
            axes[1] = Dim("samples", min=num_samples(self.shortest), **longest)
        elif self.any_length:
            axes[2] = Dim("frames", min=self.shortest)
        return (axes, {0: batch}, {0: batch}) if self.reference else (axes,)

    def checked_frames(self) -> tuple[int, ...]:
        """The lengths on which an exported model is compared, none of them the one that it was exported with."""
        if self.bounded:
            return (self.shortest, min(self.frames, 3 * self.shortest + 5))
        return (self.shortest, 3 * self.shortest + 5) if self.any_length else (self.frames,)

    def __str__(self) -> str:
        """The shapes, for a person."""
        frames = self.shortest if self.any_length else self.frames
        if self.bounded:
            shape = f"(N, {num_samples(frames)} <= samples <= {num_samples(self.frames)})"
        elif self.kind == "waveform":
            shape = f"(N, samples{' >=' if self.any_length else ' ='} {num_samples(frames)})"
        else:
            shape = f"(N, 3, T{' >=' if self.any_length else ' ='} {frames}, {NUM_MEL_BINS})"
        return f"{shape}, neutral_features (N, {self.reference}), neutral_mask (N,)" if self.reference else shape
