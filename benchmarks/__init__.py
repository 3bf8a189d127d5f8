"""Benchmarks of Evergrant and its alternatives, in the same run. They are no tests."""
