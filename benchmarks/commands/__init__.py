"""The commands of ``dsnet``, one file each; :mod:`benchmarks.commands.app` registers them."""
