"""Timings of calque beside its peers: `python -m benchmarks [names]`."""
