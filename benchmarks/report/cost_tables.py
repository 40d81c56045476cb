"""What the methods cost (Table 3), and what DSNet costs and gains on each encoder."""

from collections.abc import Mapping, Sequence
from typing import get_args

from benchmarks.cost import PAPER_TABLE_3, measure
from benchmarks.cost.speed_record import SpeedRecord
from benchmarks.data import EncoderSpec
from benchmarks.methods import METHODS
from benchmarks.output.table import Number, Table, Value
from benchmarks.report.columns import Column
from benchmarks.report.rows import BASELINE, OURS
from benchmarks.scores.statistics import Unit, holm, mean_uar, paired_permutation
from benchmarks.training import TrainingSettings
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
        rows.append([method, *(Number(number, form=".3f", unit=unit, paper=paper) for number, unit, paper in counted)])
    header = ["method", "training parameters", "training MACs", "inference parameters", "inference MACs"]
    notes = ["For one utterance of 600 frames on the paper's CNN; in brackets the figures that the paper prints."]
    return Table(header, rows, notes=notes, name=name, title="Table 3. Complexity of the methods")


def fitting_speeds(settings: TrainingSettings, speeds: Sequence[SpeedRecord]) -> dict[tuple[str, str], SpeedRecord]:
    """The last line of speed for each encoder and method, of those measured with a budget's frames, batch and precision."""
    wanted = (settings.max_frames, settings.batch_size, settings.precision, settings.compile)
    return {
        (line.encoder, line.method): line
        for line in speeds
        if (line.max_frames, line.batch_size, line.precision, line.compile) == wanted
    }


def encoder_cost_table(
    name: str, title: str, encoders: Sequence[EncoderSpec], settings: TrainingSettings, speeds: Sequence[SpeedRecord]
) -> Table:
    """Parameters and MACs of each encoder bare and with DSNet, and what was measured of speed and memory.

    Args:
        name: of the table's files.
        title: above it.
        encoders: what the cells were trained on.
        settings: the cells' settings; only speed that was measured with their frames, batch and precision counts.
        speeds: lines of speed.
    """
    header = [
        *("encoder", "method", "training parameters", "inference parameters", "training MACs", "inference MACs"),
        *("training, utterances/s", "training memory, GiB"),
        *("latency, ms", "inference, utterances/s", "inference memory, GiB"),
    ]
    fitting = fitting_speeds(settings, speeds)
    rows: list[Sequence[Value]] = [
        [
            encoder.title,
            method,
            *_counts(method, encoder, settings.max_frames),
            *(_measured(fitting.get((encoder.title, method)), *what) for what in _MEASURED),
        ]
        for encoder in encoders
        for method in METHODS
        if method in (BASELINE, OURS) or (encoder.title, method) in fitting
    ]
    titles = {encoder.title for encoder in encoders}
    shown = [line for (title, _), line in fitting.items() if title in titles]
    devices = dict.fromkeys(line.environment.device for line in shown)
    notes = [
        f"The baseline is the bare encoder with its classifier. For one utterance of {settings.max_frames} frames."
    ]
    if devices:
        notes.append(
            f"Speed and memory on {', '.join(devices)}, batches of {settings.batch_size}, {settings.precision}."
        )
    else:
        notes.append("Speed was not measured with these frames, this batch and this precision.")
    return Table(header, rows, notes=notes, left=2, name=name, title=title)


def _counts(method: str, encoder: EncoderSpec, max_frames: int) -> list[Value]:
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


def _measured(line: SpeedRecord | None, part: str, key: str, divisor: float, form: str) -> Number | None:
    return None if line is None else Number(getattr(getattr(line, part), key) / divisor, form=form)


def encoder_uar_table(name: str, title: str, by_encoder: Mapping[str, Sequence[Column]]) -> Table:
    """UAR of each encoder bare and with DSNet, the difference and its p values.

    Args:
        name: of the table's files.
        title: above it.
        by_encoder: columns whose rows are the baseline and DSNet.
    """
    header = ["tested on", "encoder", "bare", "with DSNet", "difference", "p (utterances)", "p (speakers)"]
    rows = [
        row
        for corpus in dict.fromkeys(column.name for columns in by_encoder.values() for column in columns)
        for row in _pairs(corpus, {e: c for e, columns in by_encoder.items() for c in columns if c.name == corpus})
    ]
    notes = [
        "Bare and with DSNet over the same folds and seeds. Two-sided paired permutation tests, after Holm's adjustment "
        "over the encoders."
    ]
    return Table(header, rows, notes=notes, left=2, name=name, title=title)


def _pairs(name: str, by_encoder: Mapping[str, Column]) -> list[Sequence[Value]]:
    both = {e: column.entries for e, column in by_encoder.items() if {BASELINE, OURS} <= column.entries.keys()}
    predictions = [(entries[OURS].predictions, entries[BASELINE].predictions) for entries in both.values()]
    p = {unit: holm([paired_permutation(*pair, unit) for pair in predictions]) for unit in get_args(Unit)}
    rows: list[Sequence[Value]] = []
    for i, (encoder, entries) in enumerate(both.items()):
        bare, ours = entries[BASELINE], entries[OURS]
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
