"""Measured speed and memory as a table: what ``dsnet speed`` prints, and the report of lines of speed."""

from collections.abc import Sequence

from benchmarks.cost.speed_record import SpeedRecord
from benchmarks.output.table import Number, Table, Value

_MIB = 2**20


def speed_table(records: Sequence[SpeedRecord]) -> Table:
    """What was measured under one budget on one device, a row a method."""
    header = [
        *("method", "training samples/s", "times baseline", "outside", "statistics", "of matmul", "training peak"),
        *("inference latency", "inference samples/s", "inference times baseline", "inference peak"),
    ]
    notes = [
        "'outside' is the share of training time between the steps, 'statistics' what recomputing batch norm's adds to an epoch, "
        "'of matmul' the arithmetic done as a share of what a large matrix product does in that time; peaks are of memory. "
        "'times baseline' is by a baseline that was measured in turns with the method, not by the one in the table."
    ]
    rows = [_row(record) for record in records]
    return Table(header, rows, notes=notes, name="speed", title=measured_under(records[0]))


def speed_tables(records: Sequence[SpeedRecord]) -> list[Table]:
    """A table for each budget and device, in the order of the lines; of two lines of one method the later counts."""
    groups: dict[str, dict[str, SpeedRecord]] = {}
    for record in records:
        groups.setdefault(measured_under(record), {})[record.method] = record
    return [speed_table(list(group.values())) for group in groups.values()]


def measured_under(record: SpeedRecord) -> str:
    """The budget and the device of a measurement, in words."""
    compiled = ", compiled" if record.compile else ""
    return (
        f"{record.encoder}, batches of {record.batch_size}, {record.max_frames} frames, {record.precision}{compiled}, "
        f"{record.environment.device}, {record.environment.threads} threads"
    )


def _row(record: SpeedRecord) -> list[Value]:
    training, inference = record.training, record.inference
    return [
        record.method,
        Number(training.samples_per_second, form=".1f"),
        Number(training.times_baseline),
        Number(100 * training.outside_share, form=".1f", unit="%"),
        Number(training.statistics_steps, form=".1f", unit=" steps"),
        Number(100 * training.matmul_share, form=".0f", unit="%"),
        Number(training.peak_bytes / _MIB, form=",.0f", unit=" MiB"),
        Number(inference.latency_ms, form=".1f", unit=" ms"),
        Number(inference.samples_per_second, form=".1f"),
        Number(inference.times_baseline),
        Number(inference.peak_bytes / _MIB, form=",.0f", unit=" MiB"),
    ]
