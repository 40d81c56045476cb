"""The specifications that come with the package, read by :func:`benchmarks.grid.spec.read_spec`."""
