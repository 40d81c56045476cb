"""Frozen dataclasses to JSON and back: the one reader that stands between a file and the rest of the suite."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from functools import lru_cache
from sys import float_info
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from dsnet_plugin import CheckpointError

T = TypeVar("T")

_LARGEST = 2**63
"""Whole numbers below it fit where arrays of them are made."""


class _Misfit(Exception):
    """A value that is not of the type that is wanted; the text says which and what was seen."""


def to_json(record: Any) -> dict[str, Any]:
    """Turns a dataclass into what ``json.dumps`` takes."""
    return asdict(record)


def from_json(kind: type[T], value: Any, where: str, remedy: str) -> T:
    """Reads a dataclass from what ``json.loads`` gave.

    Its fields may be text, numbers, truth values, None, further dataclasses, and lists and mappings of such; a field of
    type ``object`` takes whatever JSON can hold. Only a field whose default is None may be absent, and no other key may be
    there.

    Args:
        kind: the dataclass.
        value: the parsed JSON.
        where: the file, with a line number where it has several records.
        remedy: what the user can do about a record that does not fit.

    Raises:
        CheckpointError: names the place, the entry that does not fit, what was seen and what was expected.
    """
    try:
        record: T = _read(kind, value, "")
    except _Misfit as misfit:
        raise CheckpointError(f"{where}: {misfit}; {remedy}") from None
    return record


def _read(hint: Any, value: Any, path: str) -> Any:
    """The value as the type hint wants it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return _read_fields(hint, value, path)
    if origin is UnionType:
        (wanted,) = (argument for argument in arguments if argument is not NoneType)
        return None if value is None else _read(wanted, value, path)
    if origin in (list, Sequence):
        _check(isinstance(value, list), value, "list", path)
        return [_read(arguments[0], entry, f"{path}[{i}]") for i, entry in enumerate(value)]
    if origin in (dict, Mapping):
        _check(isinstance(value, dict), value, "dict", path)
        return {key: _read(arguments[1], entry, _below(path, key)) for key, entry in value.items()}
    return value if hint is object else _read_plain(hint, value, path)


def _read_fields(kind: Any, value: Any, path: str) -> Any:
    """The dataclass that a JSON object holds."""
    name = path or "record"
    _check(isinstance(value, dict), value, "dict", name)
    hints = _hints(kind)
    required = [field.name for field in fields(kind) if field.default is not None]
    if lacking := [key for key in required if key not in value]:
        raise _Misfit(f"{name} lacks {', '.join(lacking)}")
    if surplus := [key for key in value if key not in hints]:
        raise _Misfit(f"{name} has {', '.join(surplus)}, of which this release knows nothing")
    read = {key: _read(hints[key], entry, _below(path, key)) for key, entry in value.items()}
    try:
        return kind(**read)
    except ValueError as error:
        raise _Misfit(f"{name}: {error}") from error


@lru_cache
def _hints(kind: Any) -> dict[str, object]:
    return get_type_hints(kind)


def _read_plain(kind: type, value: Any, path: str) -> Any:
    """Text, a truth value or a number; a whole number where a fraction is wanted becomes one."""
    _check(type(value) is kind or (kind is float and type(value) is int), value, kind.__name__, path)
    if kind in (int, float) and not abs(value) < (_LARGEST if kind is int else float_info.max):  # nor is it NaN
        raise _Misfit(f"{path} is {_shown(value)}, expected a smaller, finite number")
    return float(value) if kind is float else value


def _shown(number: float) -> str:
    """The number in few letters; Python refuses to write those of thousands of digits."""
    return str(number) if abs(number) < 1e12 or isinstance(number, float) else "a number of more than 12 digits"


def _check(fits: bool, value: Any, wanted: str, path: str) -> None:
    if not fits:
        raise _Misfit(f"{path} is a {'null' if value is None else type(value).__name__}, expected {wanted}")


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
