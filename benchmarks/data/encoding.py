"""Utterances as a frozen encoder gives them: computed once, in batches of like length, and kept on disk."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from benchmarks.corpora import Utterance
from benchmarks.data.encoder_spec import FrontEnd
from benchmarks.data.feature_cache import feature_file, read_features, write_features
from benchmarks.data.features import log_mel_of, onset_key, waveform_of
from benchmarks.data.front_end import frozen_encoder
from benchmarks.data.parallel import on_all_cores
from benchmarks.data.speech_data import collate
from benchmarks.errors import AudioError

_BATCH = 16


def encode(
    utterances: Sequence[Utterance],
    front_end: FrontEnd,
    device: torch.device,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[list[Tensor | None], dict[str, str]]:
    """Encodes utterances with a frozen encoder, each (L, D); what is not on disk yet is computed, on all cores or a GPU.

    Each batch is on disk as soon as it is finished, so that a killed call goes on where it was.

    Args:
        utterances: what is encoded.
        front_end: one of the kind ``"encoded"``.
        device: where the encoder runs.
        say: gets a line on how many were encoded, and how fast.

    Returns:
        One entry an utterance in order, None where its audio cannot be read; and the reason for each of those, by key.

    Raises:
        DSNetError: the encoder has to be loaded, and cannot be, or is another one than the front end names.
    """
    assert front_end.encoder is not None
    problems: dict[str, str] = {}
    features: list[Tensor | None] = [None] * len(utterances)
    settings = f"{front_end.encoder.digest}/{front_end.max_frames}/{front_end.precision}{onset_key(front_end.onset)}"

    def look(utterance: Utterance) -> Path | None:
        try:
            return feature_file(utterance.path, settings, utterance.start, utterance.end)
        except AudioError as error:
            problems[utterance.key] = str(error).removeprefix(f"{utterance.path}: ")
            return None

    files = on_all_cores(look, utterances, "recordings")
    for i, file in enumerate(files):
        features[i] = None if file is None else read_features(file)
    waiting = {i: file for i, file in enumerate(files) if file is not None and features[i] is None}
    if waiting:
        started = perf_counter()
        _encode(utterances, waiting, features, front_end, device, problems)
        seconds = perf_counter() - started
        fresh = sum(features[i] is not None for i in waiting)
        say(
            f"{front_end.encoder.title}: {fresh:,} utterances encoded in {seconds:.0f} s, {fresh / seconds:.1f} a second; "
            f"{len(utterances) - len(waiting) - len(problems):,} were there"
        )
    return features, problems


def _encode(
    utterances: Sequence[Utterance],
    waiting: Mapping[int, Path],
    features: list[Tensor | None],
    front_end: FrontEnd,
    device: torch.device,
    problems: dict[str, str],
) -> None:
    """Encodes the utterances at these indices, puts them among the features and writes them to the files beside the indices."""
    assert front_end.encoder is not None
    frozen = frozen_encoder(front_end.encoder).to(device)
    read = waveform_of if frozen.input_kind == "waveform" else log_mel_of

    def compute(batch: Sequence[int]) -> None:
        inputs = {}
        for i in batch:
            spoken = utterances[i]
            try:
                inputs[i] = read(spoken.path, front_end.max_frames, spoken.start, spoken.end, front_end.onset)
            except AudioError as error:
                problems[spoken.key] = str(error).removeprefix(f"{spoken.path}: ")
        if not inputs:
            return
        bf16 = torch.autocast(device.type, torch.bfloat16, enabled=front_end.precision == "bf16")
        with torch.inference_mode(), bf16:
            encoded = frozen(collate(list(inputs.values()), front_end.max_frames, frozen.input_kind, device))
        for i, states in zip(inputs, encoded.float().cpu(), strict=True):
            features[i] = states.clone()  # else each would keep the whole batch
            write_features(waiting[i], states)

    # Neighbours in the order of size are of like length, and the encoder spares itself padding, and passes.
    ordered = sorted(waiting, key=lambda i: _length(utterances[i]))
    batches = [ordered[i : i + _BATCH] for i in range(0, len(ordered), _BATCH)]
    on_all_cores(compute, batches, "encoding", unit="batch", workers=1 if device.type == "cuda" else None)


def _length(utterance: Utterance) -> float:
    """Grows with an utterance's length: its seconds where they are known, else the bytes of its file."""
    if utterance.end is not None:
        return utterance.end - utterance.start
    return os.path.getsize(utterance.path)
