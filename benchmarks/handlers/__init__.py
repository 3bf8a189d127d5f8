"""Functions that `benchmarks.start` starts, each alone in a Lambda of its own."""
