"""From a specification to the records of finished cells, and the names of the files that they are in.

What computes stays in ``run`` and ``executors``, so that a reader of records does not import the training.
"""

from benchmarks.grid.record import (
    LINES_NAME,
    SPACES_NAME,
    SPEED_NAME,
    TRAINING_SPACES_NAME,
    CellRecord,
    CorpusTest,
    read_record,
)

__all__ = [
    "LINES_NAME",
    "SPACES_NAME",
    "SPEED_NAME",
    "TRAINING_SPACES_NAME",
    "CellRecord",
    "CorpusTest",
    "read_record",
]
