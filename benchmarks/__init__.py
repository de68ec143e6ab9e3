"""Measurements of time and of numbers, each run with ``python -m benchmarks.NAME``."""
