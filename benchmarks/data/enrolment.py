"""Neutral sentences of the speakers who are to be heard: kept from every score, the same ones for every method."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.data.speech_data import SpeechData


class Enrolment(NamedTuple):
    """Who was enrolled with what, and what is left to score."""

    references: dict[str, list[int]]
    """The indices of each speaker's neutral sentences, by the speaker's name; speakers without neutral speech have none."""

    scored: list[int]
    """The indices of all other utterances, in the order given."""


def draw_enrolment(data: SpeechData, indices: Sequence[int], sentences: int, seed: int) -> Enrolment:
    """Draws neutral sentences of each speaker, who keeps at least one of that class to be scored.

    What is drawn for a speaker depends on seed and speaker alone: who draws one sentence gets the first of three.

    Args:
        data: the corpus.
        indices: the utterances of one side.
        sentences: how many of each speaker, as far as there are so many.
        seed: the seed of the draw.
    """
    neutral: dict[str, list[int]] = {}
    for index in indices:
        if data.neutral[index]:
            neutral.setdefault(data.utterances[index].speaker, []).append(index)
    references = {}
    for speaker, spoken in neutral.items():
        ordered = sorted(spoken, key=lambda index: data.utterances[index].key)
        random.Random(f"enrol/{seed}/{speaker}").shuffle(ordered)
        if chosen := ordered[: min(sentences, len(ordered) - 1)]:
            references[speaker] = chosen
    kept = {index for chosen in references.values() for index in chosen}
    return Enrolment(references, [index for index in indices if index not in kept])
