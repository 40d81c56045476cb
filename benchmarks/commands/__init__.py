"""The commands of ``dsnet``, one file a family; :mod:`benchmarks.cli` puts them together."""
