"""The batches of one side of a fold, as tensors that a method takes, neutral references with them.

Two numbers name an utterance, here and in the rooms above. Its **index** is its position in the corpus,
``data.utterances[index]``; folds are lists of indices. Its **place** is its position in one side of a fold,
``side.indices[place] == index``; batches and neutral references, which see one side alone, are made of places.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.data.enrolment import draw_enrolment
from benchmarks.data.speech_data import SpeechData
from benchmarks.methods import Batch, Method, Speakers
from dsnet_plugin import NeutralBatch


class FoldSide:
    """One side of a fold as a method sees it.

    Args:
        data: the whole corpus.
        indices: the utterances of this side, by their indices in the corpus.
        method: says what goes into a batch.
        missing_neutral: what a method that needs references does about training speakers without neutral speech; None for
            a side that is not trained on, where they simply have no reference.
        seed: decides on the choice of references.
        target: for training, the test speaker's utterances, of which a method with ``target_rows`` sees the sound alone.
        enrol: for a side that is not trained on, how many neutral sentences of each speaker are its references and not
            scored: ``indices`` are then the others alone. Which ones is the same for all methods.
    """

    def __init__(
        self,
        data: SpeechData,
        indices: Sequence[int],
        method: Method,
        missing_neutral: str | None = None,
        seed: int = 0,
        target: Sequence[int] = (),
        enrol: int = 0,
    ) -> None:
        self.data = data
        self._enrolled: dict[str, list[int]] | None = None
        if enrol:
            self._enrolled, indices = draw_enrolment(data, indices, enrol, seed)
        self.indices = list(indices)
        self.method = method
        self.target = list(target)
        self.names = [data.utterances[i].speaker for i in indices]
        self.speakers = sorted(set(self.names))
        self._speaker_number = {name: number for number, name in enumerate(self.speakers)}
        neutral = [data.neutral[i] for i in indices]
        self.references = None
        if self._enrolled is None and (missing_neutral is not None or any(neutral)):
            speakers = Speakers(
                self.names, neutral, lambda: data.mean_inputs(self.indices), missing_neutral or "mask", seed
            )
            self.references = method.pairing(speakers)

    def training_places(self, epoch: int) -> list[int]:
        """The places that may be trained on in an epoch: all but those kept as references."""
        return list(range(len(self.indices))) if self.references is None else self.references.training_indices(epoch)

    def epoch(self, epoch: int, batch_size: int) -> Iterator[Batch]:
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
                speakers = [self._speaker_number[self.names[place]] for place in places.tolist()]
                batch["speakers"] = torch.tensor(speakers).to(self.data.device, non_blocking=True)
            if rows := self.method.target_rows:
                chosen = [target[(number * rows + i) % len(target)] for i in range(rows)]
                batch["target"] = self.data.inputs(chosen)
            yield batch

    def batch(self, places: Sequence[int], epoch: int = 0) -> Batch:
        """The keyword arguments of a method's ``forward`` for these places, in validation."""
        labels = self.data.labels[[self.indices[place] for place in places]]
        return {
            "inputs": self._inputs(places),
            "labels": labels.to(self.data.device, non_blocking=True),
            **self._neutral(places, epoch),
        }

    def unlabelled(self, places: Sequence[int]) -> Batch:
        """The keyword arguments of a ``forward`` without labels; neutral references only for a method that needs them
        in inference."""
        neutral = self._neutral(places, epoch=0) if self.method.neutral_in_inference else {}
        return {"inputs": self._inputs(places), **neutral}

    def reference_keys(self) -> dict[str, list[str]]:
        """The first epoch's references of each speaker, by their keys."""
        if self.references is None:
            return {}
        references = {speaker: self.references.of(speaker) for speaker in self.speakers}
        return {s: [self.data.utterances[self.indices[place]].key for place in p] for s, p in references.items()}

    def _inputs(self, places: Sequence[int]) -> Any:
        return self.data.inputs([self.indices[place] for place in places])

    def _neutral(self, places: Sequence[int], epoch: int) -> Batch:
        if not self.method.needs_neutral:
            return {}
        if self._enrolled is not None:
            chosen = NeutralBatch.of([self._enrolled.get(self.names[place], []) for place in places])
            references = chosen.references.tolist()
        elif self.references is not None:
            chosen = self.references.batch(places, epoch)
            references = [self.indices[place] for place in chosen.references.tolist()]
        else:
            return {}
        device = self.data.device
        batch: Batch = {"neutral_mask": chosen.neutral_mask.to(device, non_blocking=True)}
        if references:
            batch["neutral"] = self.data.inputs(references)
            batch["neutral_index"] = chosen.neutral_index.to(device, non_blocking=True)
        return batch

    def _order(self, epoch: int) -> Tensor:
        """The places to train on, shuffled; for a balanced method the speakers in turn, short ones more than once."""
        places = torch.tensor(self.training_places(epoch))
        shuffled = places[torch.randperm(len(places))]
        if not self.method.balanced:
            return shuffled
        by_speaker: dict[str, list[int]] = {}
        for place in shuffled.tolist():
            by_speaker.setdefault(self.names[place], []).append(place)
        turns = [by_speaker[speaker] for speaker in sorted(by_speaker)]
        return torch.tensor(
            [turns[i % len(turns)][(i // len(turns)) % len(turns[i % len(turns)])] for i in range(len(places))]
        )
