"""Scripts that put the suite itself to the test, its defaults and its readers: ``python -m benchmarks.studies.NAME --help``."""
