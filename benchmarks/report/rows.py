"""Which cells make which row of which table."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.methods import METHODS, VARIANTS
from benchmarks.report.cells import Cell

OURS = "dsnet"
BASELINE = "baseline"
_NEUTRAL_SETTINGS = {"strategy", "references"}

_ORDER = [name for method in METHODS for name in (method, *(v for v, (base, _) in VARIANTS.items() if base == method))]

Rows = dict[str, list[Cell]]
"""Cells by the name of their row, in the order of the table."""


@dataclass
class Studies:
    """The rows of each table of one encoder and one budget.

    ``comparison``: the methods (Table 2), a DSNet that hears the test speaker's neutral speech among them. The others have
    DSNet first: ``ablation`` (Table 4), ``neutral`` with other choices of neutral references, ``losses`` with other losses.
    ``remarks`` say where a name is not what it seems.
    """

    comparison: Rows = field(default_factory=dict)
    ablation: Rows = field(default_factory=dict)
    neutral: Rows = field(default_factory=dict)
    losses: Rows = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def sort_rows(cells: Sequence[Cell]) -> Studies:
    """Sorts the cells of one encoder and one budget into the tables.

    A method with several settings has one row of the comparison under its own name: with the settings that its name labels,
    or without such with those that come first. Further settings of DSNet go into the studies; further settings of any
    other method become rows of the comparison, under their labels.
    """
    studies = Studies()
    variants: dict[str, list[list[Cell]]] = {}
    for variant in _by_settings(cells):
        variants.setdefault(variant[0].method, []).append(variant)
    for method in dict.fromkeys([*_ORDER, *variants]):
        if method not in variants:
            continue
        main, *others = sorted(variants[method], key=lambda variant: variant[0].label != method)
        if main[0].label != method:
            studies.remarks.append(
                f"{method} stands for the settings labelled {main[0].label!r}; none is labelled {method}"
            )
        named = {method: main}
        for variant in others:
            named[_name(variant[0], main[0], named)] = variant
        if VARIANTS.get(method, ("",))[0] == OURS and not main[0].record.adapts:
            studies.ablation |= named
        elif method == OURS:
            studies.comparison[OURS] = main
            for name, variant in list(named.items())[1:]:
                rows = studies.neutral if _differing(variant[0], main[0]) <= _NEUTRAL_SETTINGS else studies.losses
                rows[name] = variant
        else:
            studies.comparison |= named
    for study in ("ablation", "neutral", "losses"):
        if getattr(studies, study) and OURS in studies.comparison:
            setattr(studies, study, {OURS: studies.comparison[OURS], **getattr(studies, study)})
    return studies


def _by_settings(cells: Sequence[Cell]) -> list[list[Cell]]:
    by_settings: dict[str, list[Cell]] = {}
    for cell in cells:
        by_settings.setdefault(json.dumps([cell.method, cell.label, cell.config], sort_keys=True), []).append(cell)
    return list(by_settings.values())


def _name(cell: Cell, main: Cell, taken: Rows) -> str:
    """The label; if it is taken, followed by the settings that differ from the main ones."""
    if cell.label not in taken and cell.label not in METHODS:
        return cell.label
    differing = ", ".join(f"{key} {cell.config.get(key)}" for key in sorted(_differing(cell, main)))
    return f"{cell.label} ({differing or cell.label})"


def _differing(cell: Cell, main: Cell) -> set[str]:
    return {key for key in cell.config.keys() | main.config.keys() if cell.config.get(key) != main.config.get(key)}
