"""What the methods cost (Table 3), and what DSNet costs and gains on each encoder."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from benchmarks.cost import PAPER_TABLE_3, measure
from benchmarks.methods import METHODS
from benchmarks.report.columns import Column
from benchmarks.report.rows import BASELINE, OURS
from benchmarks.report.table import Number, Table, Value
from benchmarks.scores.statistics import Unit, holm, mean_uar, paired_permutation
from dsnet_plugin import DSNetError

_GIB = 2**30
_MEASURED = (
    ("training", "samples_per_second", 1.0, ".0f"),
    ("training", "peak_bytes", _GIB, ".2f"),
    ("inference", "latency_ms", 1.0, ".2f"),
    ("inference", "samples_per_second", 1.0, ".0f"),
    ("inference", "peak_bytes", _GIB, ".2f"),
)
"""Columns from a line of speed: the part, the key, what it is divided by, the format."""


def complexity_table(name: str, methods: Sequence[str]) -> Table:
    """Table 3: parameters and MACs on the paper's CNN, in brackets what the paper prints."""
    rows: list[Sequence[Value]] = []
    for method in methods:
        printed = PAPER_TABLE_3.get(method, (None,) * 4)
        counted = zip(measure(method).in_table_3_units(), "MGMG", printed, strict=True)
        rows.append([method, *(Number(own, form=".3f", unit=unit, paper=paper) for own, unit, paper in counted)])
    header = ["method", "training parameters", "training MACs", "inference parameters", "inference MACs"]
    notes = ["For one utterance of 600 frames on the paper's CNN; in brackets the figures that the paper prints."]
    return Table(name, "Table 3. Complexity of the methods", header, rows, notes=notes)


def fitting_speeds(
    budget: Mapping[str, Any], speeds: Sequence[Mapping[str, Any]]
) -> dict[tuple[str, str], Mapping[str, Any]]:
    """By encoder and method the last line of speed that was measured with a budget's frames, batch and precision."""
    wanted = {key: budget[key] for key in ("max_frames", "batch_size", "precision", "compile") if key in budget}
    return {
        (line["encoder"], line["method"]): line
        for line in speeds
        if all(line.get(key, False) == value for key, value in wanted.items())
    }


def encoder_cost_table(
    name: str, title: str, encoders: Sequence[str], budget: Mapping[str, Any], speeds: Sequence[Mapping[str, Any]]
) -> Table:
    """Parameters and MACs of each encoder bare and with DSNet, and what was measured of speed and memory.

    Args:
        name: of the table's files.
        title: above it.
        encoders: their names.
        budget: of the cells; speed counts that was measured with its frames, batch and precision.
        speeds: lines of speed.
    """
    header = [
        *("encoder", "method", "training parameters", "inference parameters", "training MACs", "inference MACs"),
        *("training, utterances/s", "training memory, GiB"),
        *("latency, ms", "inference, utterances/s", "inference memory, GiB"),
    ]
    fitting = fitting_speeds(budget, speeds)
    rows: list[Sequence[Value]] = [
        [
            encoder,
            method,
            *_counts(method, encoder, int(budget["max_frames"])),
            *(_measured(fitting.get((encoder, method), {}), *what) for what in _MEASURED),
        ]
        for encoder in encoders
        for method in METHODS
        if method in (BASELINE, OURS) or (encoder, method) in fitting
    ]
    shown = [line for (encoder, _), line in fitting.items() if encoder in encoders]
    devices = dict.fromkeys(str(line.get("environment", {}).get("device")) for line in shown)
    notes = [
        f"The baseline is the bare encoder with its classifier. For one utterance of {budget['max_frames']} frames."
    ]
    if devices:
        notes.append(
            f"Speed and memory on {', '.join(devices)}, batches of {budget['batch_size']}, {budget['precision']}."
        )
    else:
        notes.append("Speed was not measured with these frames, this batch and this precision.")
    return Table(name, title, header, rows, notes=notes, left=2)


def _counts(method: str, encoder: str, max_frames: int) -> list[Value]:
    try:
        training_m, training_g, inference_m, inference_g = measure(method, encoder, max_frames).in_table_3_units()
    except (DSNetError, OSError):  # an encoder that is not on this machine
        return [None] * 4
    return [
        Number(training_m, unit="M"),
        Number(inference_m, unit="M"),
        Number(training_g, unit="G"),
        Number(inference_g, unit="G"),
    ]


def _measured(line: Mapping[str, Any], part: str, key: str, divisor: float, form: str) -> Number | None:
    value = line.get(part, {}).get(key)
    return None if value is None else Number(value / divisor, form=form)


def encoder_uar_table(name: str, title: str, by_encoder: Mapping[str, Sequence[Column]]) -> Table:
    """UAR of each encoder bare and with DSNet, the difference and its p values.

    Args:
        name: of the table's files.
        title: above it.
        by_encoder: columns of which the rows are the baseline and DSNet.
    """
    header = ["tested on", "encoder", "bare", "with DSNet", "difference", "p (utterances)", "p (speakers)"]
    rows = [
        row
        for column in dict.fromkeys(column.name for columns in by_encoder.values() for column in columns)
        for row in _pairs(
            column, {e: own for e, columns in by_encoder.items() for own in columns if own.name == column}
        )
    ]
    notes = [
        "Bare and with DSNet over the same folds and seeds. Two-sided paired permutation tests, after Holm's adjustment "
        "over the encoders."
    ]
    return Table(name, title, header, rows, notes=notes, left=2)


def _pairs(name: str, by_encoder: Mapping[str, Column]) -> list[Sequence[Value]]:
    both = {e: own.entries for e, own in by_encoder.items() if {BASELINE, OURS} <= own.entries.keys()}
    p = {
        unit: holm(
            [paired_permutation(own[OURS].predictions, own[BASELINE].predictions, unit) for own in both.values()]
        )
        for unit in get_args(Unit)
    }
    rows: list[Sequence[Value]] = []
    for i, (encoder, own) in enumerate(both.items()):
        bare, ours = own[BASELINE], own[OURS]
        difference = mean_uar(ours.predictions) - mean_uar(bare.predictions)
        rows.append(
            [
                name,
                encoder,
                Number(mean_uar(bare.predictions), bare.sd, bold=difference < 0),
                Number(mean_uar(ours.predictions), ours.sd, bold=difference > 0),
                Number(difference, form="+.2f"),
                Number(float(p["utterance"][i]), form=".4f"),
                Number(float(p["speaker"][i]), form=".4f"),
            ]
        )
    return rows
