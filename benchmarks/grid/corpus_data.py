"""A corpus made ready for training: its features, what happens to absent files, and what identifies it in a record."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from benchmarks.corpora import Corpus
from benchmarks.data import FrontEnd, SpeechData
from benchmarks.data.encoding import encode
from benchmarks.data.features import extract
from benchmarks.errors import AudioError
from benchmarks.grid.spec import CorpusSpec, open_corpus
from benchmarks.output.printable import printable
from benchmarks.training import CorpusIdentity

Say = Callable[[str], None]


@dataclass(frozen=True)
class CorpusData:
    """A corpus ready for training."""

    identity: CorpusIdentity
    """What identifies it in a record."""

    data: SpeechData
    """Its utterances with their features in memory."""


def usable(
    corpus: Corpus, front_end: FrontEnd, device: torch.device, skip_problems: bool, say: Say
) -> tuple[Corpus, list[Tensor]]:
    """Extracts a corpus' features and settles what happens to files that are absent or cannot be read.

    ``device`` is where a frozen encoder runs.

    Returns:
        The corpus with the utterances that are left, and their features in the same order.

    Raises:
        AudioError: there are such files and ``skip_problems`` is False, or nothing is left.
    """
    if front_end.encoder is None:
        features, broken = extract(corpus.utterances, front_end.max_frames, front_end.input_kind, front_end.onset)
    else:
        features, broken = encode(corpus.utterances, front_end, device, say)
    report = corpus.report
    report.unreadable |= broken
    if report.absent:
        example = next(iter([*report.missing, *report.unreadable, *report.pointers]))
        what = (
            f"{corpus.info.title}: {len(report.missing)} files missing, {len(report.unreadable)} unreadable, "
            f"{len(report.pointers)} Git LFS pointers, such as {example}"
        )
        if not skip_problems:
            raise AudioError(
                f"{what}; 'dsnet corpora {corpus.info.name} --root {corpus.root}' lists them: mend them, or train without "
                "them with --skip-problems"
            )
        say(f"going on without {report.absent} utterances: {what}")
    for remark in ([corpus.info.warning] if corpus.info.warning else []) + report.remarks:
        say(f"note: {corpus.info.title}: {printable(remark)}")
    kept = [(u, f) for u, f in zip(corpus.utterances, features, strict=True) if f is not None]
    if not kept:
        raise AudioError(f"{corpus.info.title}: no utterance in {corpus.root} can be read")
    return Corpus(corpus.info, corpus.root, [u for u, _ in kept], report), [f for _, f in kept]


def describe(corpus: Corpus) -> str:
    """One line on what is in a corpus."""
    counts = ", ".join(f"{emotion} {count}" for emotion, count in corpus.counts().items())
    return f"{len(corpus.utterances):,} utterances ({counts}), {len(corpus.speakers)} speakers"


def fingerprint(corpus: Corpus) -> str:
    """A digest of the utterances' keys, speakers and labels, so that a run does not go on with other data."""
    rows = "\n".join(f"{u.key}\t{u.speaker}\t{u.label}" for u in corpus.utterances)
    return hashlib.sha256(rows.encode()).hexdigest()[:16]


def identify(corpus: Corpus, name: str) -> CorpusIdentity:
    """What identifies a corpus in a record, under the name that it has there."""
    return CorpusIdentity(name, corpus.info.name, len(corpus.utterances), fingerprint(corpus))


@lru_cache(maxsize=4)
def load_data(spec: CorpusSpec, front_end: FrontEnd, device: torch.device, skip: bool) -> CorpusData:
    """A corpus' features in memory; a process that computes many cells loads each corpus once."""
    corpus, features = usable(open_corpus(spec), front_end, device, skip, lambda _: None)
    data = SpeechData(corpus.utterances, features, front_end.max_frames, device, front_end.input_kind)
    return CorpusData(identify(corpus, spec.name), data)
