"""What disks, tools, people and attackers do to files and to what is in them."""

from typing import Any

import numpy as np

Rng = np.random.Generator

_WORDS = (
    b"",
    b"\n",
    b'"',
    b"\0",
    b"\xff\xfe",
    b"-1",
    b"nan",
    b"1e999",
    b"inf",
    b"../../x",
    b"\x1b[2J",
    b"=1+1",
    b"path",
    b"\xe2\x80\xae",
    b"/dev/zero",
    b"99999999999999999999",
    b",,,,",
    b"a" * 5_000,
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 3, 2**31, 2**63, 10**300, 0.5, -0.0, float("inf"), float("nan"), 1e308),
    *("", "x", "0", "~nobody/x", "a\0b", "\ud800", "../..", "é\u202e", "9" * 400, "x" * 5_000),
    *([], {}, [[]], [None], {"": None}, {"x": {"y": [1]}}, [1, "2", 3.0], [[[[[[[[]]]]]]]]),
)


class Wrong(Exception):
    """A reader returned what cannot be."""


def damage(content: bytes, rng: Rng) -> bytes:
    """The content with one to four things done to it that disks, tools and people do."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        place = int(rng.integers(len(data) + 1))
        near = int(rng.integers(min(len(data), 64) + 1))  # headers matter most
        kind = int(rng.integers(7))
        if kind == 0:
            del data[place:]
        elif kind == 1 and data:
            data[near % len(data)] ^= 1 << int(rng.integers(8))
        elif kind == 2:
            data[near : near + 4] = int(rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1])).to_bytes(4, "little")
        elif kind == 3:
            data[place:place] = _WORDS[int(rng.integers(len(_WORDS)))]
        elif kind == 4:
            data[place : place + 200] = rng.bytes(int(rng.integers(200)))
        elif kind == 5:
            data += data[near : near + 5_000]
        else:
            del data[near : near + int(rng.integers(1, 50))]
    return bytes(data)


def distort(value: Any, rng: Rng) -> Any:
    """What JSON or YAML held, with something in it left out, renamed, or in the place of it what nobody expects."""
    if not value or not isinstance(value, dict | list) or not rng.integers(8):
        return _VALUES[int(rng.integers(len(_VALUES)))]
    kind, place = int(rng.integers(10)), int(rng.integers(len(value)))
    if isinstance(value, list):
        instead = {0: [], 1: value * 2}.get(kind, [distort(value[place], rng)])
        return [*value[:place], *instead, *value[place + 1 :]]
    key = list(value)[place]
    rest = {name: entry for name, entry in value.items() if name != key}
    renamed: dict[Any, Any] = {0: {}, 1: {f"{key}x": value[key]}}.get(kind, {key: distort(value[key], rng)})
    return {**rest, **renamed}
