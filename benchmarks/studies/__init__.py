"""Scripts that settle the suite's own defaults by experiment: ``python -m benchmarks.studies.NAME --help``."""
