"""The remedy that needs no method: encoded utterances, standardised speaker by speaker over what each of them said."""

import random
from dataclasses import dataclass
from typing import Literal

import torch

from benchmarks.data import SpeechData


@dataclass(frozen=True)
class Standardisation:
    """Over which of a speaker's utterances the mean and the deviation are taken."""

    count: int | None = None
    """So many of them, drawn at random, or as many as there are; None for all."""

    test_speech: Literal["even", "one emotion", "neutral"] = "even"
    """What a speaker in a test was heard saying: every emotion, one that is drawn at random for each speaker, or neutral speech.
    A speaker without any neutral speech is heard in everything; so are the speakers of training and validation."""


STANDARDISED = {
    "baseline-standardised": Standardisation(),
    "baseline-standardised-10": Standardisation(10),
    "baseline-standardised-10-neutral": Standardisation(10, "neutral"),
    "baseline-standardised-10-one": Standardisation(10, "one emotion"),
}
"""Baselines on standardised features, by the name of the form."""


def standardised(data: SpeechData, over: Standardisation, testing: bool = False) -> SpeechData:
    """Encoded utterances, each less the mean of what its speaker said, over the deviation.

    Args:
        data: the corpus, of a frozen encoder.
        over: the utterances that mean and deviation are taken over.
        testing: whether these are speakers of a test, to whom ``over.test_speech`` applies.
    """
    features = torch.stack(data.features)
    for speaker in {utterance.speaker for utterance in data.utterances}:
        own = [i for i, utterance in enumerate(data.utterances) if utterance.speaker == speaker]
        draw = random.Random(speaker)
        heard = own
        if testing and over.test_speech != "even":
            emotions = sorted({data.utterances[i].label for i in own})
            emotion = "neutral" if over.test_speech == "neutral" else draw.choice(emotions)
            heard = [i for i in own if data.utterances[i].label == emotion] or own
        if over.count is not None:
            heard = draw.sample(heard, min(over.count, len(heard)))
        deviation, centre = torch.std_mean(features[heard], 0, correction=0)
        features[own] = (features[own] - centre) / (deviation + 1e-5)
    return SpeechData(data.utterances, list(features), data.max_frames, data.device, data.input_kind)
