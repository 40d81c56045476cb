"""The batches of one side of a fold, as tensors that a method takes, neutral references with them."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.data.speech_data import SpeechData
from benchmarks.methods import Method, Speakers


class Side:
    """One side of a fold as a method sees it.

    Args:
        data: the whole corpus.
        indices: the utterances of this side.
        method: says what goes into a batch.
        missing_neutral: what a method that needs references does about training speakers without neutral speech; None for
            a side that is not trained on, where they simply have no reference.
        seed: of the choice of references.
        target: for training, the test speaker's utterances, of which a method with ``target_rows`` sees the sound alone.
    """

    def __init__(
        self,
        data: SpeechData,
        indices: Sequence[int],
        method: Method,
        missing_neutral: str | None = None,
        seed: int = 0,
        target: Sequence[int] = (),
    ) -> None:
        self.data = data
        self.indices = list(indices)
        self.method = method
        self.target = list(target)
        self.names = [data.utterances[i].speaker for i in indices]
        self.speakers = sorted(set(self.names))
        self._place_of = {name: place for place, name in enumerate(self.speakers)}
        neutral = [data.neutral[i] for i in indices]
        self.references = None
        if missing_neutral is not None or any(neutral):
            speakers = Speakers(
                self.names, neutral, lambda: data.mean_inputs(self.indices), missing_neutral or "mask", seed
            )
            self.references = method.pairing(speakers)

    def training_indices(self, epoch: int) -> list[int]:
        """The places of this side that may be trained on in an epoch: all but those kept as references."""
        return list(range(len(self.indices))) if self.references is None else self.references.training_indices(epoch)

    def epoch(self, epoch: int, batch_size: int) -> Iterator[dict[str, Any]]:
        """The batches of one pass in training, in an order drawn from torch's generator.

        A last batch of one utterance is left out, since batch statistics need two.
        """
        # Drawn where it is used alone: else the number of test utterances would shift every draw that follows.
        target = [self.target[i] for i in torch.randperm(len(self.target)).tolist()] if self.method.target_rows else []
        for number, places in enumerate(torch.split(self._order(epoch), batch_size)):
            if len(places) < 2:
                continue
            batch = self.batch(places.tolist(), epoch)
            if self.method.needs_speakers:
                own = [self._place_of[self.names[place]] for place in places.tolist()]
                batch["speakers"] = torch.tensor(own).to(self.data.device, non_blocking=True)
            if rows := self.method.target_rows:
                chosen = [target[(number * rows + i) % len(target)] for i in range(rows)]
                batch["target"] = self.data.inputs(chosen)
            yield batch

    def batch(self, places: Sequence[int], epoch: int = 0) -> dict[str, Any]:
        """The keyword arguments of a method's ``forward`` for these places, in validation."""
        labels = self.data.labels[[self.indices[place] for place in places]]
        return {
            "inputs": self._inputs(places),
            "labels": labels.to(self.data.device, non_blocking=True),
            **self._neutral(places, epoch),
        }

    def unlabelled(self, places: Sequence[int]) -> dict[str, Any]:
        """The same in testing: no labels, and references only for a method that takes them in inference."""
        neutral = self._neutral(places, epoch=0) if self.method.neutral_in_inference else {}
        return {"inputs": self._inputs(places), **neutral}

    def reference_keys(self) -> dict[str, list[str]]:
        """The first epoch's references of each speaker, by their keys."""
        if self.references is None:
            return {}
        own = {speaker: self.references.of(speaker) for speaker in self.speakers}
        return {s: [self.data.utterances[self.indices[place]].key for place in places] for s, places in own.items()}

    def _inputs(self, places: Sequence[int]) -> Any:
        return self.data.inputs([self.indices[place] for place in places])

    def _neutral(self, places: Sequence[int], epoch: int) -> dict[str, Any]:
        if self.references is None:
            return {}
        found = self.references.batch(places, epoch)
        device = self.data.device
        batch: dict[str, Any] = {"neutral_mask": found.neutral_mask.to(device, non_blocking=True)}
        if len(found.references):
            batch["neutral"] = self._inputs(found.references.tolist())
            batch["neutral_index"] = found.neutral_index.to(device, non_blocking=True)
        return batch

    def _order(self, epoch: int) -> Tensor:
        """The places to train on, shuffled; for a balanced method the speakers in turn, short ones more than once."""
        places = torch.tensor(self.training_indices(epoch))
        shuffled = places[torch.randperm(len(places))]
        if not self.method.balanced:
            return shuffled
        own: dict[str, list[int]] = {}
        for place in shuffled.tolist():
            own.setdefault(self.names[place], []).append(place)
        turns = [own[speaker] for speaker in sorted(own)]
        return torch.tensor(
            [turns[i % len(turns)][(i // len(turns)) % len(turns[i % len(turns)])] for i in range(len(places))]
        )
