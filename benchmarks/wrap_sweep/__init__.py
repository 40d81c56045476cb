"""Every model at hand is wrapped, and what ``wrap`` promises of it is checked: ``python -m benchmarks.wrap_sweep``.

One file a library says which of its models are tried; ``promises`` says what is checked of each.
"""
