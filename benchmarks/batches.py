"""From features in memory to the tensors that a method takes, neutral references with them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from backbones import add_deltas, fit_frames
from benchmarks.corpora import EMOTIONS, Utterance
from dsnet_plugin import NeutralReferences


class SpeechData:
    """The utterances of a corpus with their static features, kept at their own length.

    Args:
        utterances: N labelled utterances.
        features: N matrices (T, 80).
        max_frames: the T of every batch.
        device: where batches go; deltas are computed there.
    """

    def __init__(
        self, utterances: Sequence[Utterance], features: Sequence[Tensor], max_frames: int, device: torch.device
    ) -> None:
        self.utterances = list(utterances)
        self.features = list(features)
        self.max_frames = max_frames
        self.device = device
        self.labels = torch.tensor([EMOTIONS.index(utterance.label) for utterance in utterances])

    def inputs(self, indices: Sequence[int]) -> Tensor:
        """The input of a method for these utterances, shape (N, 3, T, 80)."""
        static = torch.stack([fit_frames(self.features[i], self.max_frames) for i in indices])
        return add_deltas(static.to(self.device))


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

    def batch(self, places: Sequence[int], epoch: int) -> dict[str, Tensor]:
        """The keyword arguments of a method's ``forward`` for these places of the side."""
        data = self.data
        chosen = [self.indices[place] for place in places]
        batch = {"inputs": data.inputs(chosen), "labels": data.labels[chosen].to(data.device)}
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
