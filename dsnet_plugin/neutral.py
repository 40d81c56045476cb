"""Neutral references: which neutral utterance stands for which speaker (section 3.2 and 4.2)."""

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dsnet_plugin.config import check_choice
from dsnet_plugin.errors import ConfigError, NeutralReferenceError, ShapeError

NeutralStrategy = Literal["random", "first", "medoid", "per_epoch"]
MissingNeutral = Literal["error", "drop", "mask"]


class NeutralBatch(NamedTuple):
    """The references of one batch of N utterances: few distinct ones, and who uses which.

    ``references`` are the utterances to encode, each once, shape (K,), int64. ``neutral_index`` gives each row's places in
    ``references``: shape (N,), or (N, k) when k references are averaged. ``neutral_mask`` is False where a row's speaker has no
    neutral utterance (its index is then 0 and means nothing), shape (N,).
    """

    references: Tensor
    neutral_index: Tensor
    neutral_mask: Tensor

    @classmethod
    def of(cls, chosen: Sequence[Sequence[int]], width: int | None = None) -> "NeutralBatch":
        """Packs the references of N utterances.

        Args:
            chosen: for each utterance its references, or none; one who has fewer than others has them in turn.
            width: k; None for as many as the most that one utterance has.
        """
        width = max(map(len, chosen), default=0) or 1 if width is None else width
        places: dict[int, int] = {}  # utterance of a reference -> its row
        rows = []
        for references in chosen:
            cycled = [references[i % len(references)] for i in range(width)] if references else []
            rows.append([places.setdefault(reference, len(places)) for reference in cycled] or [0] * width)
        index = torch.tensor(rows, dtype=torch.int64).reshape(len(rows), width)
        return cls(
            torch.tensor(list(places), dtype=torch.int64),
            index[:, 0] if width == 1 else index,
            torch.tensor([bool(references) for references in chosen], dtype=torch.bool),
        )


class NeutralReferences:
    """Chooses neutral references among the training utterances and takes them out of the training set.

    An utterance is known by its place in the sequences given here.

    Args:
        speakers: the speaker of each utterance.
        neutral: whether each utterance is neutral.
        strategy: ``"random"`` draws once and keeps (the paper), ``"first"`` takes the first in the order given,
            ``"medoid"`` the nearest to the mean of the speaker's neutral ``features``, ``"per_epoch"`` draws anew in
            every epoch.
        k: references a speaker, whose features are averaged. A speaker with fewer neutral utterances repeats them in
            turn, and has none left to train on.
        seed: of the draws; a speaker's draw does not depend on the other speakers.
        missing: for speakers without any neutral utterance: ``"error"``, ``"drop"`` them from the training set, or
            ``"mask"`` their calibration.
        features: shape (utterances, D), for ``"medoid"`` alone: whatever the distance shall be measured on.

    Raises:
        NeutralReferenceError: ``missing="error"`` and speakers without neutral speech, who are named; or no speaker has
            any.
        ShapeError: sequences of different lengths.
        ConfigError: an unknown strategy, k below 1, or ``features`` missing or not used.

    Example:
        >>> references = NeutralReferences(["a", "a", "a", "b", "b"], [True, True, False, True, False], "first")
        >>> references.training_indices()
        [1, 2, 4]
        >>> batch = references.batch([1, 4, 2])
        >>> batch.references.tolist(), batch.neutral_index.tolist()
        ([0, 3], [0, 1, 0])
    """

    def __init__(
        self,
        speakers: Sequence[str],
        neutral: Sequence[bool],
        strategy: NeutralStrategy = "random",
        k: int = 1,
        seed: int = 0,
        missing: MissingNeutral = "error",
        features: Tensor | None = None,
    ) -> None:
        check_choice("strategy", strategy, NeutralStrategy)
        check_choice("missing", missing, MissingNeutral)
        if k < 1:
            raise ConfigError(f"k={k}: expected at least 1 reference a speaker")
        if (features is not None) != (strategy == "medoid"):
            raise ConfigError(f"strategy={strategy!r}: features= goes with 'medoid', and 'medoid' needs it")
        if len(neutral) != len(speakers) or (features is not None and len(features) != len(speakers)):
            raise ShapeError(
                f"{len(speakers)} speakers, {len(neutral)} neutral flags"
                + (f", {len(features)} rows of features" if features is not None else "")
                + ": expected one of each an utterance"
            )
        self.speakers = list(speakers)
        self.strategy = strategy
        self.k = k
        self.seed = seed
        self._neutral: dict[str, list[int]] = {speaker: [] for speaker in sorted(set(speakers))}
        for i, (speaker, is_neutral) in enumerate(zip(speakers, neutral, strict=True)):
            if is_neutral:
                self._neutral[speaker].append(i)
        self.without_neutral = [speaker for speaker, utterances in self._neutral.items() if not utterances]
        nobody = len(self.without_neutral) == len(self._neutral)
        if self.without_neutral and (missing == "error" or nobody):
            advice = "DSNet needs neutral speech of at least one speaker"
            if not nobody:
                advice = (
                    "add one each, or leave these speakers out with missing='drop' or mask them with missing='mask'"
                )
            named = ", ".join(map(str, self.without_neutral))
            raise NeutralReferenceError(
                f"no neutral utterance of {named} among the {len(speakers)} utterances: {advice}"
            )
        self._dropped = set(self.without_neutral) if missing == "drop" else set()
        self._features = features
        self._fixed = {} if strategy == "per_epoch" else {s: self._choose(s, 0) for s in self._neutral}

    def of(self, speaker: str, epoch: int = 0) -> list[int]:
        """The speaker's references in an epoch: at most k utterances, none for a speaker without neutral speech.

        Raises:
            NeutralReferenceError: a speaker who was not among those given.
        """
        if speaker not in self._neutral:
            raise NeutralReferenceError(f"unknown speaker {speaker!r}; known: {', '.join(map(str, self._neutral))}")
        return self._choose(speaker, epoch) if self.strategy == "per_epoch" else list(self._fixed[speaker])

    def training_indices(self, epoch: int = 0) -> list[int]:
        """The utterances left for training: no reference of this epoch, no dropped speaker; in the order given."""
        references = {i for speaker in self._neutral for i in self.of(speaker, epoch)}
        return [i for i, s in enumerate(self.speakers) if i not in references and s not in self._dropped]

    def batch(self, indices: Sequence[int], epoch: int = 0) -> NeutralBatch:
        """The references of a batch of utterances, each distinct one once (K of them for N utterances)."""
        return NeutralBatch.of([self.of(self.speakers[i], epoch) for i in indices], self.k)

    def _choose(self, speaker: str, epoch: int) -> list[int]:
        candidates = self._neutral[speaker]
        if self.strategy == "first" or len(candidates) <= self.k:
            return candidates[: self.k]
        if self._features is not None:
            features = self._features[candidates].flatten(1).double()
            distances = torch.linalg.vector_norm(features - features.mean(0), dim=1)
            return [candidates[i] for i in distances.argsort(stable=True)[: self.k].tolist()]
        # Seeded by the name and not by the place, so that a fold's other speakers do not change the draw.
        draw = random.Random(f"{self.seed}/{epoch}/{speaker}")
        return draw.sample(candidates, self.k)
