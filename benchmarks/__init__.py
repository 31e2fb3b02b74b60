"""Benchmarks: pytest-benchmark files, and `python -m benchmarks.peers` for ratios to peers."""
