"""A specification, its cells, their records, and the names of the files that these are in.

What computes stays in ``run`` and ``executors``, so that a reader of records does not import the training.
"""

from typing import TYPE_CHECKING

from dsnet_plugin.late import late_names

if TYPE_CHECKING:
    from benchmarks.grid.record import (
        SPACES_NAME,
        TRAINING_SPACES_NAME,
        CellRecord,
        CorpusTest,
        read_record,
    )
else:
    _FILES = ["SPACES_NAME", "TRAINING_SPACES_NAME"]
    __getattr__ = late_names(__name__, {"record": [*_FILES, "CellRecord", "CorpusTest", "read_record"]})

__all__ = [
    "SPACES_NAME",
    "TRAINING_SPACES_NAME",
    "CellRecord",
    "CorpusTest",
    "read_record",
]
