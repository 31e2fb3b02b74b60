"""pydiff beside its peers, interleaved in one run: `python -m benchmarks.peers --help`."""
