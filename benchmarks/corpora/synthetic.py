"""Synthetic: speech-like signals with known speaker and emotion factors, made here, so that nothing is downloaded.

A source-filter model (Fant, 1960; Klatt, JASA 1980): glottal pulses along a pitch contour and breath noise, a spectral
tilt, resonators gliding from vowel to vowel, consonants of noise between them. No word is said and nobody acts:
results on this corpus show that code works and how it treats known factors, not how well it knows emotion.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from scipy import fft, signal
from scipy.interpolate import PchipInterpolator

from backbones import SAMPLE_RATE
from benchmarks.corpora.audio_files import AudioFiles
from benchmarks.corpora.base import EMOTIONS, CorpusInfo, Report, Utterance
from benchmarks.errors import CorpusError
from benchmarks.output.files import cache_root

_VERSION = 1  # rises whenever the same settings give other files
_MANIFEST = "synthetic.json"
_LEAST = 2  # utterances of each class that a speaker keeps at any correlation
_LIMITS: dict[str, tuple[Any, float, float, str]] = {
    "speakers": (int, 2, 1000, "a whole number from 2 to 1000"),
    "utterances": (int, _LEAST * len(EMOTIONS), 10_000, "a whole number from 8 to 10000"),
    "correlation": ((int, float), 0, np.nextafter(1, 0), "a number from 0 to below 1"),
    "seconds": ((int, float), 0.5, 10, "a number from 0.5 to 10"),
    "seed": (int, 0, 2**32 - 1, "a whole number from 0 to 2**32 - 1"),
}


@dataclass(frozen=True)
class SyntheticSettings:
    """What to generate.

    ``speakers``: how many, 2 to 1000, women and men in turn. ``utterances``: of each speaker, 8 to 10000.
    ``correlation``: in [0, 1), how much of each speaker's utterances is moved to one favourite emotion: at 0 all
    speakers have the same class counts, near 1 every speaker has two of each other class. ``seconds``: mean length of
    an utterance, 0.5 to 10; lengths are uniform within 30%. ``seed``: 0 to 2**32 - 1. All else raises CorpusError.
    """

    speakers: int = 6
    utterances: int = 48
    correlation: float = 0.5
    seconds: float = 1.4
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (kind, low, high, expected) in _LIMITS.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or isinstance(value, bool) or not low <= value <= high:
                raise CorpusError(f"synthetic corpus: {name}={value!r}; expected {expected}")

    def counts(self, speaker: int) -> dict[str, int]:
        """How many utterances of each emotion the speaker of this index has."""
        # Favourites rotate with the speakers; the further step every four puts women and men behind each favourite.
        favourite = EMOTIONS[(speaker + speaker // len(EMOTIONS)) % len(EMOTIONS)]
        share, rest = divmod(self.utterances, len(EMOTIONS))
        counts = {emotion: share + (position < rest) for position, emotion in enumerate(EMOTIONS)}
        moved = {emotion: round(self.correlation * (counts[emotion] - _LEAST)) for emotion in EMOTIONS}
        counts = {emotion: counts[emotion] - moved[emotion] for emotion in EMOTIONS}
        counts[favourite] += sum(moved.values())
        return counts


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
    """The factors of the speaker of this index; they depend on the seed, not on how many speakers there are."""
    rng = np.random.default_rng([seed, 1, speaker])  # the 1 here and the 2 in _utterance keep their streams apart
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
    """One impulse for each period of ``f0`` (Hz, one value a sample), with 1% jitter and 5% shimmer; sinc pulses do not alias."""
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

    ``knots`` says from when to when (s) each vowel stands. Windows of 20 ms overlap by half and are filtered one by one.
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


def _utterance(settings: SyntheticSettings, speaker: int, emotion: str, number: int) -> np.ndarray:
    """The waveform of one file; it depends on its name, the seed and the mean length, not on the other files."""
    rng = np.random.default_rng([settings.seed, 2, speaker, EMOTIONS.index(emotion), number])
    z = np.clip(rng.standard_normal(5), -2.5, 2.5)
    varied = Emotion(*(np.array(astuple(FACTORS[emotion])) + np.array(astuple(SPREAD)) * z).tolist())
    return synthesize(speaker_factors(settings.seed, speaker), varied, settings.seconds * rng.uniform(0.7, 1.3), rng)


def generate(root: Path, settings: SyntheticSettings = SyntheticSettings()) -> None:
    """Writes ``spk00/spk00_angry_00.wav`` and so on (16 kHz, 16 bit) and ``synthetic.json`` with all factors.

    The same settings give the same bytes; a folder that holds them already is left as it is. Everything is written
    beside ``root`` and moved there at the end, so that half a corpus is never there.

    Raises:
        CorpusError: ``root`` holds a corpus of other settings, or something else; nothing is changed then.
    """
    if _holds(root, settings):
        return
    root = root.resolve()
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as folder:
        made, speakers = Path(folder) / root.name, {}
        for index in range(settings.speakers):
            name, counts = f"spk{index:02d}", settings.counts(index)
            speakers[name] = {**asdict(speaker_factors(settings.seed, index)), "counts": counts}
            (made / name).mkdir(parents=True)
            for stem, emotion, number in _stems(name, counts):
                wave = _utterance(settings, index, emotion, number)
                soundfile.write(made / name / f"{stem}.wav", wave, SAMPLE_RATE, subtype="PCM_16")
        truth = {"settings": {"version": _VERSION} | asdict(settings), "speakers": speakers, "spread": asdict(SPREAD)}
        truth["emotions"] = {emotion: asdict(factors) for emotion, factors in FACTORS.items()}
        (made / _MANIFEST).write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")
        if not _holds(root, settings):  # another process may have been first
            if root.is_dir():
                root.rmdir()  # empty, and Windows does not rename onto a folder
            made.rename(root)


def _stems(name: str, counts: dict[str, int]) -> list[tuple[str, str, int]]:
    return [(f"{name}_{emotion}_{n:02d}", emotion, n) for emotion in counts for n in range(counts[emotion])]


def _holds(root: Path, settings: SyntheticSettings) -> bool:
    """Whether the corpus of these settings is in the folder; False for an empty or absent one."""
    if (root / _MANIFEST).is_file():
        asked, present = {"version": _VERSION, **asdict(settings)}, _read(root)["settings"]
        other = [f"{key}={present.get(key)} (asked: {n})" for key, n in asked.items() if present.get(key) != n]
        if other:
            raise CorpusError(f"{root} holds a synthetic corpus of {', '.join(other)}; choose another folder")
        return True
    if root.is_file() or (root.is_dir() and any(root.iterdir())):
        raise CorpusError(f"{root} is there and no synthetic corpus (no {_MANIFEST}); choose a new or an empty folder")
    return False


def _read(root: Path) -> dict[str, Any]:
    try:
        truth = json.loads((root / _MANIFEST).read_text(encoding="utf-8"))
        return {name: dict(truth[name]) for name in ("settings", "speakers")}
    except (KeyError, TypeError, ValueError):
        raise CorpusError(f"{root}: {_MANIFEST} is damaged; delete the folder and generate again") from None


def default_root(settings: SyntheticSettings = SyntheticSettings()) -> Path:
    """The folder of these settings in the cache."""
    size = f"s{settings.speakers}-u{settings.utterances}-c{float(settings.correlation)}-t{float(settings.seconds)}"
    return cache_root() / f"synthetic-v{_VERSION}-{size}-seed{settings.seed}"


INFO = CorpusInfo(
    name="synthetic",
    title="Synthetic (source-filter signals)",
    language="none",
    licence="generated by this project (code Apache-2.0; signals free to use)",
    source="benchmarks.corpora.synthetic.generate",
    layout="spk00/spk00_angry_00.wav",
    counts={"angry": 62, "happy": 82, "neutral": 82, "sad": 62},
    speakers=6,
    notes="Not speech: signals with known speaker and emotion factors. Counts are those of the default settings.",
)


def utterances(files: AudioFiles, report: Report) -> Iterator[Utterance]:
    """``SPEAKER_EMOTION_NN``; the sex, and which files there should be, from ``synthetic.json``."""
    speakers = _read(files.root)["speakers"] if (files.root / _MANIFEST).is_file() else {}
    for match, path in files.matching(rf"(spk\d\d+)_({'|'.join(EMOTIONS)})_\d\d+", report):
        if not speakers and _MANIFEST not in report.missing:
            report.missing.append(_MANIFEST)
        speaker, label = match.groups()
        yield Utterance(path.stem, path, speaker, label, speakers.get(speaker, {}).get("sex"))
    for name, factors in speakers.items():
        report.missing += [stem for stem, _, _ in _stems(name, factors["counts"]) if stem not in files.by_stem]
