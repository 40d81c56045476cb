"""The report of a benchmark: tables, figures and one page, made from the records of finished cells."""

from benchmarks.report.build import write_report

__all__ = ["write_report"]
