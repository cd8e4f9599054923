"""What the server costs: sound pushed, sound heard, memory, latency. See `benchmarks.server.__main__`."""
