"""Signals for the synthetic corpus: what speakers and emotions do to a source-filter model, and the waveforms.

A source-filter model (Fant, 1960; Klatt, JASA 1980): glottal pulses along a pitch contour and breath noise, a spectral
tilt, resonators gliding from vowel to vowel, consonants of noise between them.
"""

from dataclasses import astuple, dataclass

import numpy as np
from scipy import fft, signal
from scipy.interpolate import PchipInterpolator

from benchmarks.corpora.base import EMOTIONS, SAMPLE_RATE


@dataclass(frozen=True)
class Speaker:
    """What stays with a speaker."""

    sex: str  # "F" or "M"; heard only through the rest
    pitch: float  # mean F0 of a neutral utterance, Hz
    vocal_tract: float  # its length, 14 to 19 cm; formants scale with its inverse
    tilt: float  # of the spectrum, dB per octave, higher is brighter
    gain: float  # of the recording, dB
    noise: float  # of the recording, dBFS RMS


@dataclass(frozen=True)
class Emotion:
    """What an emotion does to an utterance."""

    pitch_shift: float  # of the mean F0, semitones
    pitch_range: float  # standard deviation of the F0 contour, semitones
    rate: float  # syllables a second
    energy: float  # dB
    tilt: float  # dB per octave, added to the speaker's


# The mean factors of each class, neutral the reference, and their standard deviation within every class: near the
# distance between classes, so that classes overlap. Draws end at 2.5 deviations, where ranges and rates are positive.
FACTORS = {
    "angry": Emotion(pitch_shift=2.0, pitch_range=3.0, rate=5.2, energy=5.0, tilt=2.5),
    "happy": Emotion(pitch_shift=3.5, pitch_range=4.0, rate=4.9, energy=2.0, tilt=1.0),
    "neutral": Emotion(pitch_shift=0.0, pitch_range=2.0, rate=4.4, energy=0.0, tilt=0.0),
    "sad": Emotion(pitch_shift=-1.5, pitch_range=1.2, rate=3.4, energy=-4.0, tilt=-2.0),
}
SPREAD = Emotion(pitch_shift=1.2, pitch_range=0.4, rate=0.5, energy=1.8, tilt=0.9)


def speaker_factors(seed: int, speaker: int) -> Speaker:
    """The factors of the speaker of this index: a matter of the seed alone, not of how many speakers there are."""
    rng = np.random.default_rng([seed, 1, speaker])  # the 1 here and the 2 in make_utterance keep their streams apart
    z = np.clip(rng.standard_normal(5), -2, 2)
    sex, pitch, vocal_tract = ("M", 115.0, 17.0) if speaker % 2 else ("F", 205.0, 14.8)
    # Pitch, tilt and gain differ between speakers about as much as between emotions: a model may mistake the two.
    pitch, vocal_tract = pitch * np.exp(0.12 * z[0]), vocal_tract + 0.4 * z[1]
    drawn = (pitch, vocal_tract, 1.2 * z[2], 2.5 * z[3], -65 + 3 * z[4])
    return Speaker(sex, *(round(float(value), 2) for value in drawn))


def synthesize(speaker: Speaker, emotion: Emotion, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """One utterance with exactly these factors; the generator draws the rest: vowels, consonants, accents, noise.

    Returns float32 of shape ``(round(16000 * seconds),)`` within [-1, 1]. Its level is -28 dBFS RMS plus the gain and
    the energy, less only if a peak would exceed full scale.
    """
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    scale = 17.0 / speaker.vocal_tract
    lengths = rng.uniform(0.8, 1.2, size=max(2, round((seconds - 0.16) * emotion.rate)))
    lengths *= (seconds - 0.16) / lengths.sum()  # 80 ms of silence at both ends
    starts = 0.08 + np.cumsum(lengths) - lengths
    onsets = rng.choice(["voiced", "stop", "fricative"], size=len(starts))

    # F0 falls in a line, with an accent on each syllable; its mean and deviation are then set exactly.
    accents = np.linspace(1, -1, len(starts)) + rng.standard_normal(len(starts))
    centres = starts + 0.6 * lengths
    contour = PchipInterpolator(centres, accents)(np.clip(time, centres[0], centres[-1]))
    contour = emotion.pitch_range * (contour - contour.mean()) / max(contour.std(), 1e-3)
    source = _pulses(speaker.pitch * 2 ** ((emotion.pitch_shift + contour) / 12), rng)
    source += 0.012 * rng.standard_normal(len(time))  # breath, some 20 dB below the pulses

    gaps = np.where(onsets == "voiced", 0.15, 0.0)
    peaks = 10 ** (rng.normal(0, 1.5, size=len(starts)) / 20)
    knots = starts[:, None] + lengths[:, None] * np.array([0.0, 0.28, 0.42, 0.75, 0.98])
    levels = np.stack([gaps, gaps, peaks, 0.8 * peaks, gaps], axis=1)
    source *= np.interp(time, knots.ravel(), levels.ravel(), left=0, right=0)

    wave = _tilted(_vowels(source, knots[:, 2:4], scale, rng), speaker.tilt + emotion.tilt)
    wave /= wave.std()
    for start, length, onset in zip(starts, lengths, onsets, strict=True):
        if onset != "voiced":  # a stop bursts after a pause, a fricative hisses from the start
            begin, size = (start + 0.2 * length, 0.015) if onset == "stop" else (start, 0.3 * length)
            noise = np.hanning(round(size * SAMPLE_RATE)) * rng.standard_normal(round(size * SAMPLE_RATE))
            angle = 2 * np.pi * min(scale * rng.uniform(2500, 5500), 7000) / SAMPLE_RATE
            noise = signal.lfilter([1, -1], [1, -1.7 * np.cos(angle), 0.85**2], noise)
            where = round(begin * SAMPLE_RATE) + np.arange(len(noise))
            wave[where] += noise * rng.uniform(0.15, 0.4) / noise.std()
    wave *= 10 ** ((-28 + speaker.gain + emotion.energy) / 20) / wave.std()
    wave += 10 ** (speaker.noise / 20) * rng.standard_normal(len(wave))
    wave -= wave.mean()
    return np.asarray(wave / max(1.0, np.abs(wave).max() / 0.99), dtype=np.float32)


def _pulses(f0: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One impulse a period of ``f0`` (Hz, one value a sample), 1% jitter, 5% shimmer; sinc pulses, so no aliasing."""
    phase = np.cumsum(f0) / SAMPLE_RATE
    positions = np.interp(np.arange(1, int(phase[-1])), phase, np.arange(len(f0)))
    positions += rng.normal(0, 0.01 * SAMPLE_RATE / f0.mean(), size=len(positions))
    where = np.round(positions).astype(int)[:, None] + np.arange(-8, 9)
    offsets = where - positions[:, None]
    heights = rng.normal(1, 0.05, size=(len(positions), 1))
    values = heights * np.sinc(offsets) * np.cos(np.pi * offsets / 18) ** 2
    return np.bincount(where.ravel(), weights=values.ravel(), minlength=len(f0))[: len(f0)]


# F1 to F3 in Hz of i, e, a, o, u (men of Peterson and Barney, JASA 1952), taken as of 17 cm; then a uniform tube's.
_VOWELS = np.array([[270, 2290, 3010], [530, 1840, 2480], [730, 1090, 2440], [570, 840, 2410], [300, 870, 2240]])
_UPPER, _BANDWIDTHS = (3500, 4500, 5500, 6500), (70, 90, 130, 180, 250, 300, 350)


def _vowels(source: np.ndarray, knots: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    """The source through a cascade of seven resonators that glide between random vowels.

    ``knots``: from when to when (s) each vowel stands. Windows of 20 ms, filtered each on its own, overlap by half.
    """
    window, hop, size = 320, 160, 1024  # the 44 ms beyond the window hold the ringing
    targets = _VOWELS[rng.integers(len(_VOWELS), size=len(knots))] * rng.uniform(0.95, 1.05, size=(len(knots), 3))
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(source, window), window)[::hop]
    moments = (np.arange(len(frames)) * hop - window / 2) / SAMPLE_RATE
    lower = [np.interp(moments, knots.ravel(), np.repeat(formant, 2)) for formant in targets.T]
    z = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)  # the delay of one sample, at each frequency
    spectrum = fft.rfft(frames * np.hanning(window + 1)[:-1], size)
    for formant, bandwidth in zip([*lower, *_UPPER], _BANDWIDTHS, strict=True):
        radius = np.exp(-np.pi * bandwidth / SAMPLE_RATE)
        angle = 2 * np.pi * np.minimum(scale * formant, 7900) / SAMPLE_RATE  # above 8000 Hz it would fold back
        middle = (2 * radius * np.cos(angle)).reshape(-1, 1)
        spectrum *= (1 - middle + radius**2) / (1 - middle * z + radius**2 * z**2)
    output = np.zeros(len(frames) * hop + size)
    for index, frame in enumerate(fft.irfft(spectrum, size)):
        output[index * hop : index * hop + size] += frame
    return output[window : window + len(source)]


def _tilted(wave: np.ndarray, tilt: float) -> np.ndarray:
    """-6 dB per octave (what glottis and lips leave of a pulse) plus ``tilt``, 0 dB at 500 Hz, nothing below 30 Hz."""
    frequency = fft.rfftfreq(len(wave), 1 / SAMPLE_RATE)
    gain = (np.maximum(frequency, 100) / 500) ** ((tilt - 6) / 6.02) * np.clip(frequency / 30 - 1, 0, 1)
    return np.asarray(fft.irfft(fft.rfft(wave) * gain, len(wave)))


def make_utterance(seed: int, seconds: float, speaker: int, emotion: str, number: int) -> np.ndarray:
    """The waveform of one file: a matter of its name, the seed and the mean length, not of the other files."""
    rng = np.random.default_rng([seed, 2, speaker, EMOTIONS.index(emotion), number])
    z = np.clip(rng.standard_normal(5), -2.5, 2.5)
    varied = Emotion(*(np.array(astuple(FACTORS[emotion])) + np.array(astuple(SPREAD)) * z).tolist())
    return synthesize(speaker_factors(seed, speaker), varied, seconds * rng.uniform(0.7, 1.3), rng)
