"""Synthetic: speech-like signals with known speaker and emotion factors, made here, so that nothing is downloaded.

The signals are those of :mod:`benchmarks.corpora.synthesis`. No word is said and nobody acts: results
on this corpus show that code works and how it treats known factors, not how well it knows emotion.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import nextafter
from pathlib import Path
from typing import Any

from benchmarks.corpora.audio_files import AudioFiles
from benchmarks.corpora.base import EMOTIONS, SAMPLE_RATE, CorpusInfo, Report, Utterance
from benchmarks.errors import CorpusError

_VERSION = 1  # rises whenever the same settings give other files
_MANIFEST = "synthetic.json"
_LEAST = 2  # utterances of each class that a speaker keeps at any correlation
_LIMITS: dict[str, tuple[Any, float, float, str]] = {
    "speakers": (int, 2, 1000, "a whole number from 2 to 1000"),
    "utterances": (int, _LEAST * len(EMOTIONS), 10_000, "a whole number from 8 to 10000"),
    "correlation": ((int, float), 0, nextafter(1, 0), "a number from 0 to below 1"),
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


def generate(root: Path, settings: SyntheticSettings = SyntheticSettings()) -> None:
    """Writes ``spk00/spk00_angry_00.wav`` and so on (16 kHz, 16 bit) and ``synthetic.json`` with all factors.

    The same settings give the same bytes; a folder that holds them already is left as it is. Everything is written
    beside ``root`` and moved there at the end, so that half a corpus is never there.

    Raises:
        CorpusError: ``root`` holds a corpus of other settings, or something else; nothing is changed then.
    """
    if _holds(root, settings):
        return
    import soundfile

    from benchmarks.corpora.synthesis import FACTORS, SPREAD, make_utterance, speaker_factors  # scipy

    root = root.resolve()
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as folder:
        made, speakers = Path(folder) / root.name, {}
        for index in range(settings.speakers):
            name, counts = f"spk{index:02d}", settings.counts(index)
            speakers[name] = {**asdict(speaker_factors(settings.seed, index)), "counts": counts}
            (made / name).mkdir(parents=True)
            for stem, emotion, number in _stems(name, counts):
                wave = make_utterance(settings.seed, settings.seconds, index, emotion, number)
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
    from benchmarks.output.files import cache_root  # torch

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
