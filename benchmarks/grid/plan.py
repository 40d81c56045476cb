"""The cells of a specification's grids, all checked before the first of them trains."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from benchmarks.corpora import EMOTIONS, Corpus
from benchmarks.data import EncoderSpec, FrontEnd, divide, select_folds
from benchmarks.data.front_end import frozen_front_end, trainable_encoder
from benchmarks.errors import RunError
from benchmarks.grid.spec import CorpusSpec, Grid, MethodSpec, open_corpus
from benchmarks.methods import Speakers, create_method, method_class
from benchmarks.training import TrainingSettings


@dataclass(frozen=True)
class PlannedCell:
    """One cell, in words alone, so that any process on any machine that sees the folders can compute it."""

    folder: str
    """Where its files go, relative to the run's folder: CORPUS/ENCODER/LABEL/seed-S/fold-NN."""

    method: MethodSpec
    """The method with all its settings but ``num_speakers``, which the fold gives."""

    corpus: CorpusSpec
    """What it is trained on."""

    targets: tuple[CorpusSpec, ...]
    """Other corpora to test on, as a whole."""

    protocol: str
    """A name of ``PROTOCOLS``."""

    fold: int
    """The number of the fold in the protocol, from 0."""

    settings: TrainingSettings
    """Budget, encoder and seed."""

    front_end: FrontEnd
    """What its encoder's input depends on."""


def plan(grids: Sequence[Grid], precision: Callable[[str], str]) -> list[PlannedCell]:
    """The cells of grids in their order, each once; a cell of two grids is tested on the targets of both.

    Args:
        grids: what is asked for.
        precision: turns ``"auto"`` into what the device is fast in.

    Raises:
        RunError: a method that does not take its settings, one folder for two different cells, or one name for two
            corpora.
        ConfigError, CorpusError, SplitError: an encoder, a corpus or a fold that cannot be.
    """
    cells: dict[str, PlannedCell] = {}
    corpora: dict[str, tuple[CorpusSpec, Corpus]] = {}
    for grid in grids:
        built = [_build(grid, encoder, precision) for encoder in grid.encoders]
        for spec in grid.corpora:
            if spec.name not in corpora:
                corpora[spec.name] = spec, open_corpus(spec)
            known, corpus = corpora[spec.name]
            if known != spec:
                raise RunError(f"two grids have a corpus {spec.name}, and not the same; give one of them another name")
            if grid.sources and spec.name not in grid.sources:
                continue
            for cell in _cells(grid, spec, corpus, built, precision):
                other = cells.get(cell.folder, cell)
                if replace(other, targets=cell.targets) != cell:
                    raise RunError(
                        f"{cell.folder} is asked for twice, with different settings; give one of the two another label"
                    )
                targets = dict.fromkeys([*other.targets, *cell.targets])
                cells[cell.folder] = replace(cell, targets=tuple(targets))
    return list(cells.values())


def settings_of(grid: Grid, encoder: EncoderSpec, precision: Callable[[str], str], seed: int = 0) -> TrainingSettings:
    """A grid's budget on one of its encoders; ``precision`` turns ``"auto"`` into what the device is fast in."""
    chosen: dict[str, Any] = {**grid.settings, "precision": precision(grid.settings.get("precision", "fp32"))}
    return TrainingSettings(**chosen, encoder=encoder, seed=seed)


def folder_name(text: str) -> str:
    """A label or an encoder's title as the name of a folder."""
    return re.sub(r"[^A-Za-z0-9.=-]+", "_", text).strip("._") or "_"


class _Built(NamedTuple):
    """What building the methods on an encoder told."""

    front_end: FrontEnd
    """What the encoder's input depends on."""

    encoder: EncoderSpec
    """The encoder, a frozen one with its digest."""

    methods: list[MethodSpec]
    """The methods with all their settings."""


def _build(grid: Grid, spec: EncoderSpec, precision: Callable[[str], str]) -> _Built:
    """Builds each method once: a setting that it refuses is known before hours of training."""
    settings = settings_of(grid, spec, precision)
    encoder = trainable_encoder(spec)
    if spec.is_frozen:
        front_end = frozen_front_end(spec, settings.max_frames, settings.precision, settings.onset)
    else:
        front_end = FrontEnd(encoder.input_kind, settings.max_frames, onset=settings.onset)
    missing = grid.settings.get("missing_neutral", "error")
    speakers = Speakers(["a"] * 4 + ["b"] * 4, [True] * 8, lambda: torch.zeros(8, 1), missing, seed=0)
    methods = []
    for asked in grid.methods:
        needed = {"num_speakers": 2} if method_class(asked.method).needs_speakers else {}
        if taken := sorted({"name", "encoder", "num_classes", "num_speakers"} & asked.config.keys()):
            raise RunError(f"{asked.label}: {taken[0]} is not for a configuration to say")
        method = create_method(asked.method, encoder, len(EMOTIONS), **{**asked.config, **needed})
        method.pairing(speakers)
        config = {key: value for key, value in method.config().items() if key not in needed}
        methods.append(replace(asked, config=config))
    return _Built(front_end, front_end.encoder or spec, methods)


def _cells(
    grid: Grid, spec: CorpusSpec, corpus: Corpus, built: Sequence[_Built], precision: Callable[[str], str]
) -> list[PlannedCell]:
    folds = select_folds(divide(corpus.utterances, grid.protocol), grid.folds)
    targets = tuple(other for other in grid.corpora if other != spec) if grid.cross else ()
    return [
        PlannedCell(
            "/".join(
                [
                    *map(folder_name, (spec.name, on.encoder.title, method.label)),
                    f"seed-{seed}",
                    f"fold-{fold.number:02d}",
                ]
            ),
            method,
            spec,
            targets,
            grid.protocol,
            fold.number,
            settings_of(grid, on.encoder, precision, seed),
            on.front_end,
        )
        for on in built
        for seed in grid.seeds
        for fold in folds
        for method in on.methods
    ]
