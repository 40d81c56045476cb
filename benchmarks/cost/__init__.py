"""What a method costs: parameters and operations, counted; time and memory, measured.

What measures stays in ``speed`` and ``ratios``, since it trains.
"""

from benchmarks.cost.complexity import PAPER_TABLE_3, Complexity, counts_table, measure

__all__ = ["PAPER_TABLE_3", "Complexity", "counts_table", "measure"]
