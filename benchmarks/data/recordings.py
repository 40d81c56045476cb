"""What the recordings of a corpus are like before anybody trains on them: how long, of what rate, how loud, how silent."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from backbones import SAMPLE_RATE
from benchmarks.corpora import Utterance
from benchmarks.corpora.audio_file import FFMPEG_SUFFIXES, read_header
from benchmarks.data.audio import audio_blocks
from benchmarks.data.parallel import on_all_cores
from benchmarks.errors import AudioError

SILENCE = -70.0
"""A frame that is quieter is silent in any recording; in dB of full scale."""

_BELOW = 40.0
"""A frame that is so much quieter than the loudest of its recording is a pause; in dB."""

_FRAME = SAMPLE_RATE // 100


@dataclass(frozen=True)
class Recording:
    """What can be told of an utterance's sound without listening."""

    seconds: float
    """Duration."""

    rate: int | None
    """Samples a second in the file; None where only ffmpeg knows."""

    channels: int | None
    """Channels in the file; None where only ffmpeg knows."""

    level: float
    """Root mean square in dB of full scale, without pauses; ``SILENCE`` where there is nothing else."""

    leading: float
    """Seconds before the first sound."""

    trailing: float
    """Seconds after the last sound."""

    silent: float
    """The share of frames that are pauses, from 0 to 1."""


def describe_recordings(utterances: Sequence[Utterance]) -> list[Recording | None]:
    """What each utterance's sound is like, on all cores; None where it cannot be read."""
    return on_all_cores(_describe, utterances, "recordings")


def recordings_report(recordings: Sequence[Recording | None], utterances: Sequence[Utterance]) -> str:
    """Minimum, median and maximum over a corpus, a line each; and the recordings that are nothing but silence."""
    heard = [r for r in recordings if r is not None]
    if not heard:
        return "recordings: none can be read"
    rates, channels = Counter(r.rate for r in heard), Counter(r.channels for r in heard)
    lines = [
        f"duration: {_spread([r.seconds for r in heard], 's')}, together {sum(r.seconds for r in heard) / 3600:.2f} h",
        f"rate: {_kinds(rates, 'Hz')}; channels: {_kinds(channels, '')}",
        f"level: {_spread([r.level for r in heard], 'dB of full scale', 1)}",
        f"leading silence: {_spread([r.leading for r in heard], 's')}; trailing: {_spread([r.trailing for r in heard], 's')}",
        f"silent: {_spread([100 * r.silent for r in heard], '%', 0)}",
    ]
    (seconds, count), *_ = Counter(round(r.seconds, 2) for r in heard).most_common(1)
    if len(heard) > 20 and count > len(heard) / 2:
        lines.append(f"{count:,} of {len(heard):,} last {seconds:.2f} s: cut or padded to one length")
    mute = [u.key for u, r in zip(utterances, recordings, strict=True) if r is not None and r.silent == 1]
    if mute:
        lines.append(f"nothing but silence: {len(mute):,}: {', '.join(mute[:5])}{' and more' * (len(mute) > 5)}")
    return "\n".join(lines)


def frame_levels(waveform: Tensor) -> Tensor:
    """The level of each whole 10 ms in dB of full scale, a constant offset left out: (samples,) to (samples // 160,)."""
    frames = waveform[: len(waveform) // _FRAME * _FRAME].reshape(-1, _FRAME)
    return 10 * (frames - frames.mean(1, keepdim=True)).square().mean(1).clamp(min=1e-12).log10()


def _describe(utterance: Utterance) -> Recording | None:
    try:
        rate, channels = _rate_and_channels(utterance.path)
        samples, rest, parts = 0, torch.zeros(0), []
        for block in audio_blocks(utterance.path, utterance.start, utterance.end):
            samples += len(block)
            rest = torch.cat([rest, block])
            parts.append(frame_levels(rest))
            rest = rest[len(rest) // _FRAME * _FRAME :]
    except AudioError:
        return None
    levels = torch.cat(parts)
    threshold = max(SILENCE, float(levels.max()) - _BELOW) if len(levels) else SILENCE
    loud = (levels > threshold).nonzero().flatten().tolist()
    if not loud:
        return Recording(samples / SAMPLE_RATE, rate, channels, SILENCE, samples / SAMPLE_RATE, 0.0, 1.0)
    level = float((10 ** (levels[loud] / 10)).mean().log10()) * 10
    trailing = (len(levels) - 1 - loud[-1]) / 100
    return Recording(samples / SAMPLE_RATE, rate, channels, level, loud[0] / 100, trailing, 1 - len(loud) / len(levels))


def _rate_and_channels(path: Path) -> tuple[int | None, int | None]:
    if path.suffix.lower() in FFMPEG_SUFFIXES:
        return None, None
    header = read_header(path)
    return header.rate, header.channels


def _spread(values: Sequence[float], unit: str, digits: int = 2) -> str:
    ordered = sorted(values)
    low, middle, high = (f"{v:.{digits}f}" for v in (ordered[0], ordered[len(ordered) // 2], ordered[-1]))
    return f"{low} to {high} {unit}, median {middle}"


def _kinds(counts: Counter[int | None], unit: str) -> str:
    shown = [f"{'unknown' if kind is None else f'{kind:,}'} {unit}".rstrip() for kind, _ in counts.most_common()]
    if len(shown) == 1:
        return shown[0]
    return ", ".join(f"{kind} ({n:,})" for kind, n in zip(shown, dict(counts.most_common()).values(), strict=True))
