"""What a benchmark computes: a YAML file, or a preset, as a list of grids."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from importlib.resources import files
from math import isfinite
from os.path import expanduser  # that of Path raises where there is no such user
from pathlib import Path
from typing import Any

from benchmarks.corpora import CORPORA, Corpus, load_or_generate
from benchmarks.corpora.synthetic import SyntheticSettings
from benchmarks.data import EncoderSpec, check_protocol
from benchmarks.errors import RunError
from benchmarks.grid.yaml_reader import read_yaml
from benchmarks.methods import check_method
from benchmarks.output.printable import one_line
from benchmarks.presets import presets
from benchmarks.training import TrainingSettings
from dsnet_plugin import DSNetError


@dataclass(frozen=True)
class MethodSpec:
    """A method with its settings: a row of a table."""

    label: str
    """How tables call it."""

    method: str
    """A name of ``METHODS`` or ``VARIANTS``."""

    config: Mapping[str, Any] = field(default_factory=dict)
    """The settings in which it differs from the defaults."""


@dataclass(frozen=True)
class CorpusSpec:
    """A corpus, by what results call it and where it lies; it can be a key of a mapping."""

    name: str
    """How results call it."""

    corpus: str
    """Which corpus it is, a name that ``dsnet corpora`` lists."""

    root: Path | None = None
    """Its folder, absolute since workers may be elsewhere; None for the synthetic corpus, which makes its own."""

    options: tuple[tuple[str, Any], ...] = ()
    """Fields of ``SyntheticSettings`` with their values, for the synthetic corpus alone."""

    words: tuple[tuple[str, str], ...] = ()
    """What words of a manifest's column ``label`` mean, with the class of each."""


@dataclass(frozen=True)
class Grid:
    """Method x encoder x corpus x fold x seed under one budget."""

    methods: Sequence[MethodSpec]
    """The rows of its tables."""

    corpora: Sequence[CorpusSpec]
    """The corpora that are trained on, and with ``cross`` tested on, too."""

    encoders: Sequence[EncoderSpec] = (EncoderSpec(),)
    """The encoders that the methods are trained on."""

    protocol: str = "loso"
    """A name of ``PROTOCOLS``."""

    folds: str = "all"
    """``"all"``, or numbers such as ``"0,3"``."""

    seeds: Sequence[int] = (0,)
    """The seeds; each fold is trained once with each."""

    cross: bool = False
    """Whether each fold's model is tested on all of every other corpus, too."""

    sources: Sequence[str] = ()
    """The names of the corpora that are trained on, the others being there for tests alone; none named means all."""

    speed: bool = False
    """Whether the cost of every method and encoder is measured beside."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of :class:`TrainingSettings`; ``precision`` may be ``"auto"``."""


def open_corpus(spec: CorpusSpec) -> Corpus:
    """The corpus on disk; a synthetic one is generated first where it is not there."""
    return load_or_generate(spec.corpus, spec.root, dict(spec.words), **dict(spec.options))


def one_corpus(corpus: CorpusSpec, methods: Sequence[str], **choices: Any) -> Grid:
    """A grid of methods on one corpus, as ``dsnet train`` computes it.

    Args:
        corpus: its folder may be relative, or begin with ``~``.
        methods: names of ``METHODS`` or ``VARIANTS``.
        choices: further fields of :class:`Grid`.
    """
    root = None if corpus.root is None else Path(expanduser(corpus.root)).absolute()
    return Grid([MethodSpec(name, name) for name in dict.fromkeys(methods)], [replace(corpus, root=root)], **choices)


_KEYS = {entry.name for entry in fields(Grid)} | {"encoder_options", "grids", "title"}
_SYNTHETIC = {entry.name for entry in fields(SyntheticSettings)}
_SETTINGS = {entry.name for entry in fields(TrainingSettings)} - {"encoder", "seed"}
_CHANGEABLE = (_KEYS | _SETTINGS) - {"grids", "settings", "title"}
_COUNTED = {"epochs": 1, "batch_size": 2, "max_frames": 16, "patience": 1, "enrol": 0}
_TOO_LARGE = 2**31
_CHOICES = {"precision": ("auto", "fp32", "bf16"), "missing_neutral": ("error", "drop", "mask")}


def read_spec(name: str, roots: Mapping[str, Path], overrides: Mapping[str, Any] | None = None) -> list[Grid]:
    """Reads a specification.

    A file has the fields of :class:`Grid` as keys, and perhaps ``grids``, a list of mappings each of which is a grid with
    the other keys as defaults. ``methods`` are names or mappings of ``label``, ``method`` and ``config``; ``encoders`` are
    names or mappings of ``name`` and ``options``; ``encoder_options`` hold for encoders that are names. ``corpora`` maps a
    name to ``corpus``, ``root`` and ``options``; without it the corpora are those of ``roots``, or the synthetic one.

    Args:
        name: a preset, or the path of a YAML file.
        roots: folders of corpora by their names in the specification.
        overrides: keys of a grid or of its settings, which then hold for every grid.

    Raises:
        RunError: names the key or value that is wrong and what would be right.
    """
    document = _load(name)
    overrides = dict(overrides or {})
    _check_keys("--set", overrides, _CHANGEABLE)
    try:
        grids = [_grid(_merged(document, entry, overrides), roots) for entry in _entries(document)]
    except DSNetError as error:
        raise RunError(one_line(f"{name}: {error}")) from error
    used = sorted({corpus.name for grid in grids for corpus in grid.corpora})
    if unused := sorted(set(roots) - set(used)):
        raise RunError(
            f"--root {unused[0]}={roots[unused[0]]}: {name} has no corpus of this name; it has {', '.join(used)}"
        )
    return grids


def _load(name: str) -> dict[str, Any]:
    if name in presets():
        content = (files("benchmarks.presets") / f"{name}.yaml").read_bytes()
    elif Path(name).is_file():
        content = Path(name).read_bytes()
    else:
        raise RunError(f"{name}: neither a file nor a preset; {_hint(name, presets())}")
    document = read_yaml(content, name)
    if not isinstance(document, dict):
        seen = "nothing" if document is None else f"a {type(document).__name__}"
        raise RunError(f"{name} holds {seen}; expected a mapping with keys such as methods")
    return document


def _entries(document: dict[str, Any]) -> list[dict[str, Any]]:
    entries = document.get("grids", [{}])
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise RunError("grids: expected a list of mappings, each with keys such as methods and corpora")
    return entries


def _merged(document: dict[str, Any], entry: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A grid with its defaults and what the command line changes."""
    settings = {**_mapping(document, "settings"), **_mapping(entry, "settings")}
    merged = {**document, **entry, "settings": settings}
    for key, value in overrides.items():
        (settings if key in _SETTINGS else merged)[key] = value
    return merged


def _grid(entry: dict[str, Any], roots: Mapping[str, Path]) -> Grid:
    _check_keys("key", entry, _KEYS)
    check_protocol(protocol := str(entry.get("protocol", "loso")))
    grid = Grid(
        methods=[_method(method) for method in _list("methods", entry.get("methods"), "[baseline, dsnet]")],
        corpora=_corpora(entry.get("corpora"), roots),
        encoders=[
            _encoder(encoder, _mapping(entry, "encoder_options"))
            for encoder in _list("encoders", entry.get("encoders", "cnn"), "cnn")
        ],
        protocol=protocol,
        folds=",".join(str(fold) for fold in _list("folds", entry.get("folds", "all"), "all")),
        seeds=[_whole("seeds", seed, 0) for seed in _list("seeds", entry.get("seeds", 0), "[0, 1]")],
        cross=_flag(entry, "cross"),
        sources=[str(name) for name in _list("sources", entry["sources"], "[nemo]")] if "sources" in entry else (),
        speed=_flag(entry, "speed"),
        settings=_settings(entry["settings"]),
    )
    labels = [method.label for method in grid.methods]
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise RunError(f"the label {twice[0]!r} twice; give each method its own label")
    names = [corpus.name for corpus in grid.corpora]
    if unknown := [name for name in grid.sources if name not in names]:
        raise RunError(f"sources: no corpus {unknown[0]!r}; expected some of {', '.join(names)}")
    if grid.cross and len(grid.corpora) < 2:
        raise RunError("cross-corpus tests need two corpora or more; give their folders with --root NAME=FOLDER")
    return grid


def _method(entry: Any) -> MethodSpec:
    entry = {"method": entry} if isinstance(entry, str) else entry
    wanted = "expected a name, or a mapping of label, method and config"
    if not isinstance(entry, dict) or not isinstance(entry.get("method"), str):
        raise RunError(f"methods: {entry!r}; {wanted}")
    if set(entry) - {"label", "method", "config"}:
        raise RunError(f"methods: {entry!r}; {wanted}")
    check_method(entry["method"])
    return MethodSpec(str(entry.get("label", entry["method"])), entry["method"], _mapping(entry, "config"))


def _encoder(entry: Any, options: Mapping[str, Any]) -> EncoderSpec:
    if isinstance(entry, str):
        return EncoderSpec(entry, options)
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or set(entry) - {"name", "options"}:
        raise RunError(f"encoders: {entry!r}; expected a name, or a mapping of name and options")
    return EncoderSpec(entry["name"], _mapping(entry, "options"))


def _corpora(entries: Any, roots: Mapping[str, Path]) -> list[CorpusSpec]:
    if entries is None:
        entries = {key: {} for key in roots} or {"synthetic": {}}
    if isinstance(entries, list | str):
        entries = {str(key): {} for key in _list("corpora", entries, "[ravdess, nemo]")}
    if not isinstance(entries, dict) or not entries:
        raise RunError(f"corpora: {entries!r}; expected a mapping such as ravdess: {{root: FOLDER}}")
    return [_corpus(str(key), entry or {}, roots) for key, entry in entries.items()]


def _corpus(key: str, entry: Any, roots: Mapping[str, Path]) -> CorpusSpec:
    if not isinstance(entry, dict) or set(entry) - {"corpus", "root", "options", "map"}:
        raise RunError(f"corpora: {key}: {entry!r}; expected keys of corpus, root, options, map")
    corpus = str(entry.get("corpus", key))
    if corpus not in CORPORA:
        raise RunError(f"unknown corpus {corpus!r}; {_hint(corpus, CORPORA)}")
    root = roots.get(key, entry.get("root"))
    if root is None and corpus != "synthetic":
        raise RunError(f"the corpus {key} needs its folder: add --root {key}=FOLDER")
    options = _mapping(entry, "options")
    if options and corpus != "synthetic":
        raise RunError(f"corpora: {key}: options go with the synthetic corpus alone")
    _check_keys(f"corpora: {key}: option", options, _SYNTHETIC)
    SyntheticSettings(**options)  # refuses what is out of range
    folder = None if root is None else Path(expanduser(str(root))).absolute()
    words = {str(word): str(label) for word, label in _mapping(entry, "map").items()}
    return CorpusSpec(key, corpus, folder, tuple(sorted(options.items())), tuple(sorted(words.items())))


def _settings(entries: Mapping[str, Any]) -> dict[str, Any]:
    _check_keys("settings", entries, _SETTINGS)
    settings = {key: _whole(key, value, _COUNTED[key]) if key in _COUNTED else value for key, value in entries.items()}
    for key, choices in _CHOICES.items():
        if settings.get(key, choices[0]) not in choices:
            raise RunError(f"{key}: {settings[key]!r}; expected one of {', '.join(choices)}")
    for key, example in {"learning_rate": "0.001", "onset": "30"}.items():
        if key in settings:
            settings[key] = _positive(key, settings[key], example)
    _flag(settings, "compile")
    return settings


def _list(key: str, value: Any, example: str) -> list[Any]:
    """What a list, one value, or several with commas between them say."""
    entries = [word.strip() for word in value.split(",")] if isinstance(value, str) else value
    entries = entries if isinstance(entries, list) else [entries]
    if not entries or None in entries or "" in entries:
        raise RunError(f"{key}: {value!r}; expected at least one, such as {example}")
    return entries


def _mapping(entry: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = entry.get(key) or {}
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise RunError(f"{key}: {value!r}; expected a mapping of names to values")
    return value


def _whole(key: str, value: Any, least: int) -> int:
    value = int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 20 else value
    if type(value) is not int or not least <= value < _TOO_LARGE:
        raise RunError(f"{key}: {value!r}; expected a whole number of at least {least} and less than {_TOO_LARGE:,}")
    return value


def _positive(key: str, value: Any, example: str) -> float:
    """YAML reads 1e-3 as text and wants 1.0e-3 for a number."""
    try:
        number = float("nan" if isinstance(value, bool) else value)
    except (TypeError, ValueError):
        number = float("nan")
    if not (isfinite(number) and number > 0):
        raise RunError(f"{key}: {value!r}; expected a number above 0, such as {example}")
    return number


def _flag(entry: Mapping[str, Any], key: str) -> bool:
    value = entry.get(key, False)
    if not isinstance(value, bool):
        raise RunError(f"{key}: {value!r}; expected true or false")
    return value


def _check_keys(what: str, entry: Iterable[Any], known: set[str]) -> None:
    if unknown := [key for key in entry if key not in known]:
        raise RunError(f"{what} {unknown[0]!r} is unknown; {_hint(str(unknown[0]), known)}")


def _hint(wrong: str, known: Iterable[str]) -> str:
    near = get_close_matches(wrong, list(known), n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
