"""The commands of ``dsnet``, one file a family; :mod:`benchmarks.commands.app` puts them together."""
