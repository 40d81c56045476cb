"""The specifications that come with the package, read by :func:`benchmarks.spec.read_spec`."""
