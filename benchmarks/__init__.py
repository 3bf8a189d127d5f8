"""Benchmarks: what Evergrant costs, beside what a user would pick instead, in the same run. They are no tests."""
