"""The race of the flows: ``python -m benchmarks.flows``."""
