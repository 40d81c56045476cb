"""From features in memory to the tensors that a method takes, neutral references with them."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from backbones import add_deltas, fit_frames
from benchmarks.corpora import EMOTIONS, Utterance
from dsnet_plugin import NeutralReferences


def collate(
    features: Sequence[Tensor], max_frames: int, input_kind: str, device: torch.device
) -> Tensor | dict[str, Tensor]:
    """The input of an encoder for N utterances.

    Args:
        features: what :func:`benchmarks.features.extract` gives for ``input_kind``.
        max_frames: the T to which log-mel features are cut or cyclically repeated.
        input_kind: ``"lmfb"`` or ``"waveform"``.
        device: where the input goes; deltas and mask are computed there.

    Returns:
        Log-mel features with deltas (N, 3, T, 80); or waveforms, padded with zeros to the longest, and their mask.
    """
    if input_kind == "waveform":
        waveform = torch.nn.utils.rnn.pad_sequence(list(features), batch_first=True).to(device)
        lengths = torch.tensor([len(own) for own in features], device=device)
        return {"waveform": waveform, "mask": torch.arange(waveform.shape[1], device=device) < lengths[:, None]}
    return add_deltas(torch.stack([fit_frames(own, max_frames) for own in features]).to(device))


class SpeechData:
    """The utterances of a corpus with their features, kept at their own length.

    Args:
        utterances: N labelled utterances.
        features: N matrices (T, 80), or N waveforms (samples,).
        max_frames: the T of every batch.
        device: where batches go; deltas are computed there.
        input_kind: the encoder's, ``"lmfb"`` or ``"waveform"``.
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

    def inputs(self, indices: Sequence[int]) -> Tensor | dict[str, Tensor]:
        """The input of a method for these utterances, see :func:`collate`."""
        return collate([self.features[i] for i in indices], self.max_frames, self.input_kind, self.device)


class Side:
    """One side of a fold: its utterances, and for a method that needs them their neutral references.

    Args:
        data: the whole corpus.
        indices: the utterances of this side.
        missing_neutral: what :class:`NeutralReferences` does with speakers without neutral speech; None for a method
            that needs no references.
        seed: of the choice of references.
    """

    def __init__(self, data: SpeechData, indices: Sequence[int], missing_neutral: str | None, seed: int) -> None:
        self.data = data
        self.indices = list(indices)
        self.references: NeutralReferences | None = None
        if missing_neutral is not None:
            own = [data.utterances[i] for i in indices]
            self.references = NeutralReferences(
                [utterance.speaker for utterance in own],
                [utterance.label == "neutral" for utterance in own],
                seed=seed,
                missing=missing_neutral,  # type: ignore[arg-type]  # checked there
            )

    def training_indices(self, epoch: int) -> list[int]:
        """The places of this side that may be trained on in an epoch: all but the references."""
        return list(range(len(self.indices))) if self.references is None else self.references.training_indices(epoch)

    def batch(self, places: Sequence[int], epoch: int) -> dict[str, Any]:
        """The keyword arguments of a method's ``forward`` for these places of the side."""
        data = self.data
        chosen = [self.indices[place] for place in places]
        batch: dict[str, Any] = {"inputs": data.inputs(chosen), "labels": data.labels[chosen].to(data.device)}
        if self.references is not None:
            found = self.references.batch(places, epoch)
            batch["neutral_mask"] = found.neutral_mask.to(data.device)
            if len(found.references):
                batch["neutral"] = data.inputs([self.indices[place] for place in found.references.tolist()])
                batch["neutral_index"] = found.neutral_index.to(data.device)
        return batch

    def reference_keys(self) -> dict[str, str]:
        """The first epoch's reference of each speaker, by its key."""
        if self.references is None:
            return {}
        speakers = sorted(set(self.references.speakers))
        own = {speaker: self.references.of(speaker) for speaker in speakers}
        return {s: self.data.utterances[self.indices[places[0]]].key for s, places in own.items() if places}
