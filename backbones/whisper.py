"""Whisper's encoder on as many positions as an utterance needs, where its own forward takes 30 seconds alone."""

from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from backbones.frontend import SAMPLE_RATE
from backbones.pooling import first_places

WHISPER_STEP = SAMPLE_RATE // 2
"""The input is filled with silence to a multiple of so many samples, in place of 30 seconds."""


def whisper_states(
    model: Any, processor: Any, waveform: Tensor, lengths: list[int] | None
) -> tuple[tuple[Tensor, ...], Tensor]:
    """The hidden states of Whisper's encoder, the last with the norm that follows it.

    The position embedding is cut to what the longest row needs; what is longer than 30 s is cut.

    Args:
        model: transformers' ``WhisperEncoder``.
        processor: its ``WhisperFeatureExtractor``.
        waveform: (N, samples) at 16 kHz.
        lengths: the samples of each row that are the utterance's own; None where all are.

    Returns:
        One tensor (N, T, D) more than there are layers, and a mask (N, T), True for the utterances' own positions.
    """
    waveform = waveform[:, : processor.n_samples]
    samples = waveform.shape[1]
    if lengths is not None:
        valid = first_places(torch.tensor(lengths, device=waveform.device), samples)
        waveform = waveform.masked_fill(~valid, 0)
    waveform = nn.functional.pad(waveform, (0, -samples % WHISPER_STEP))
    x = nn.functional.gelu(model.conv1(log_mel_of_whisper(waveform, processor)))
    x = nn.functional.gelu(model.conv2(x)).transpose(1, 2).contiguous()
    x = x + model.embed_positions(torch.arange(x.shape[1], device=x.device))
    states = [x := nn.functional.dropout(x, p=model.dropout, training=model.training)]
    for layer in model.layers:
        states.append(x := _run_layer(layer, x))
    states[-1] = model.layer_norm(x)
    hop = 2 * processor.hop_length  # the second convolution halves the frames
    if lengths is None:
        return tuple(states), (torch.arange(x.shape[1], device=x.device) < -(-samples // hop)).expand(x.shape[0], -1)
    positions = torch.tensor([-(-min(length, samples) // hop) for length in lengths], device=x.device)
    return tuple(states), first_places(positions, x.shape[1])


def log_mel_of_whisper(waveform: Tensor, processor: Any) -> Tensor:
    """Log-mel features (N, samples) to (N, bins, samples // hop) as ``WhisperFeatureExtractor`` computes them.

    Here they have gradients, stay on the waveform's device, and come from operations that can be exported.
    """
    with torch.autocast(waveform.device.type, enabled=False):
        # torch.stft would tie an exported model to its batch size.
        half = processor.n_fft // 2
        padded = nn.functional.pad(waveform[:, None], (half, half), mode="reflect")[:, 0]
        frames = padded.unfold(1, processor.n_fft, processor.hop_length)[:, :-1]
        spectrum = torch.fft.rfft(frames * torch.hann_window(processor.n_fft, device=waveform.device))
        filters = torch.from_numpy(processor.mel_filters).to(waveform.device, torch.float32)
        power = spectrum.real.square() + spectrum.imag.square()
        log_mel = (power @ filters).transpose(1, 2).clamp(min=1e-10).log10()
        log_mel = torch.maximum(log_mel, log_mel.amax(dim=(1, 2), keepdim=True) - 8)
        return (log_mel + 4) / 4


def _run_layer(layer: nn.Module, x: Tensor) -> Tensor:
    """Runs a layer without masks; before transformers 5 a layer took a second mask and returned a tuple."""
    older = {"layer_head_mask": None} if "layer_head_mask" in signature(type(layer).forward).parameters else {}
    output = layer(x, None, **older)
    hidden: Tensor = output if isinstance(output, Tensor) else output[0]
    return hidden
