"""What is odd about a corpus' utterances, in sentences: one sound twice, one speaker under two names or of two sexes."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.corpora.base import Utterance

_Item = TypeVar("_Item")


def oddities(utterances: Sequence[Utterance]) -> list[str]:
    """Sentences on what is odd about the utterances; none for a corpus as it should be."""
    return [*_two_sexes(utterances), *_alike(utterances), *_same_sound(utterances), *_overlaps(utterances)]


def _two_sexes(utterances: Iterable[Utterance]) -> Iterator[str]:
    sexes: dict[str, Counter[str]] = defaultdict(Counter)
    for utterance in utterances:
        if utterance.sex is not None:
            sexes[utterance.speaker][utterance.sex] += 1
    odd = {speaker: counts for speaker, counts in sexes.items() if len(counts) > 1}
    if odd:
        shown = ", ".join(f"{s} ({' and '.join(f'{n} {x}' for x, n in sorted(c.items()))})" for s, c in odd.items())
        yield f"{len(odd)} speakers are of both sexes: {shown}; is each of them one person?"


def _alike(utterances: Iterable[Utterance]) -> Iterator[str]:
    names = {utterance.speaker for utterance in utterances}
    for group in _groups(sorted(names), lambda name: name.casefold().lstrip("0")):
        yield f"the speakers {' and '.join(map(repr, group))} count as different people; if they are one, write one name"


def _same_sound(utterances: Iterable[Utterance]) -> Iterator[str]:
    """Files of the same bytes; only files of equal size are read, and whole only those whose ends are equal."""
    by_path = {utterance.path: utterance for utterance in utterances}
    groups = [list(by_path)]
    for key in (_size, _tail, _content):
        groups = [group for mixed in groups for group in _groups(mixed, key)]
    if groups:
        a, b = (by_path[path].key for path in groups[0][:2])
        yield f"{len(groups)} recordings are there twice, byte for byte, such as {a} and {b}"
    for group in groups:
        owners = sorted({by_path[path].speaker for path in group})
        if len(owners) > 1:
            keys = ", ".join(by_path[path].key for path in group)
            yield f"one recording under the speakers {', '.join(owners)}: {keys}; it may be trained on and tested on"


def _overlaps(utterances: Iterable[Utterance]) -> Iterator[str]:
    """Pairs of segments of one file that overlap in time and name different speakers."""
    segments: dict[Path, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        segments[utterance.path].append(utterance)
    pairs = []
    for group in segments.values():
        first, *others = sorted(group, key=lambda u: u.start)
        for other in others:
            if other.start < _end(first) and other.speaker != first.speaker:
                pairs.append((first, other))
            first = max(first, other, key=_end)
    if pairs:
        a, b = pairs[0]
        yield f"{len(pairs)} segments of two speakers overlap, such as {a.key} and {b.key}: the same sound on two sides"


def _end(utterance: Utterance) -> float:
    return math.inf if utterance.end is None else utterance.end


def _groups(items: Iterable[_Item], key: Callable[[_Item], Hashable]) -> list[list[_Item]]:
    """The items that share a key with another, by key."""
    by_key: dict[Any, list[_Item]] = defaultdict(list)
    for item in items:
        by_key[key(item)].append(item)
    return [group for group in by_key.values() if len(group) > 1]


def _size(path: Path) -> int:
    return path.stat().st_size


def _tail(path: Path) -> bytes:
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 4096))
        return stream.read()


def _content(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.digest()
