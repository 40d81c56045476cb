"""A corpus in memory: its utterances with their features, and the input of an encoder made of them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from backbones import add_deltas, fit_frames
from benchmarks.corpora import EMOTIONS, Utterance


def collate(
    features: Sequence[Tensor], max_frames: int, input_kind: str, device: torch.device
) -> Tensor | dict[str, Tensor]:
    """The input of an encoder for N utterances.

    Args:
        features: what :func:`benchmarks.data.features.extract` gives for ``input_kind``.
        max_frames: the T to which log-mel features are cut or cyclically repeated.
        input_kind: ``"lmfb"``, ``"waveform"`` or ``"encoded"``.
        device: where the input goes; deltas and mask are computed there.

    Returns:
        Log-mel features with deltas (N, 3, T, 80); or waveforms, padded with zeros to the longest, and their mask; or encoded
        utterances (N, L, D).
    """
    if input_kind == "encoded":
        return torch.stack(list(features)).to(device)
    if input_kind == "waveform":
        waveform = torch.nn.utils.rnn.pad_sequence(list(features), batch_first=True).to(device)
        lengths = torch.tensor([len(samples) for samples in features], device=device)
        return {"waveform": waveform, "mask": torch.arange(waveform.shape[1], device=device) < lengths[:, None]}
    return add_deltas(torch.stack([fit_frames(matrix, max_frames) for matrix in features]).to(device))


class SpeechData:
    """The utterances of a corpus with their features, on the device where they fit.

    ``labels`` (N,) are what is learned and scored. ``neutral`` says of each utterance whether it is known as neutral
    speech and can be a reference; only methods that adapt to the test speaker use that speaker's neutral speech.

    Args:
        utterances: N labelled utterances.
        features: N matrices (T, 80), N waveforms (samples,), or N encoded utterances (L, D).
        max_frames: the T of every batch.
        device: where batches go; deltas are computed there.
        input_kind: the encoder's, ``"lmfb"``, ``"waveform"`` or ``"encoded"``.
    """

    def __init__(
        self,
        utterances: Sequence[Utterance],
        features: Sequence[Tensor],
        max_frames: int,
        device: torch.device,
        input_kind: str = "lmfb",
    ) -> None:
        self.utterances = list(utterances)
        self.features = list(features)
        self.max_frames = max_frames
        self.device = device
        self.input_kind = input_kind
        self.labels = torch.tensor([EMOTIONS.index(utterance.label) for utterance in utterances])
        self.neutral = [utterance.label == "neutral" for utterance in utterances]
        self._on_device: Tensor | None = None
        if input_kind == "encoded":
            self._on_device = torch.stack(self.features).to(device)
        elif device.type == "cuda" and input_kind == "lmfb" and self._fits():
            self._on_device = torch.stack([fit_frames(matrix, max_frames) for matrix in self.features]).to(device)

    def inputs(self, indices: Sequence[int]) -> Tensor | dict[str, Tensor]:
        """The input of a method for these utterances, see :func:`collate`."""
        if self._on_device is not None:
            chosen = self._on_device[torch.tensor(indices).to(self.device, non_blocking=True)]
            return chosen if self.input_kind == "encoded" else add_deltas(chosen)
        return collate([self.features[i] for i in indices], self.max_frames, self.input_kind, self.device)

    def mean_inputs(self, indices: Sequence[int]) -> Tensor:
        """The mean over time of each utterance's features (N, 80), or of its log-power for waveforms (N, 1).

        An encoded utterance, which is a mean over time already, is taken as it is (N, L * D).
        """
        if self.input_kind == "encoded":
            return torch.stack([self.features[i].flatten() for i in indices])
        if self.input_kind == "waveform":
            return torch.stack([self.features[i].square().mean().clamp(min=1e-10).log()[None] for i in indices])
        return torch.stack([self.features[i].mean(0) for i in indices])

    def _fits(self) -> bool:
        """Whether features of this length take less than half of the memory that is free."""
        free, _ = torch.cuda.mem_get_info(self.device)
        return 4 * len(self.features) * self.max_frames * math.prod(self.features[0].shape[1:]) < free / 2
