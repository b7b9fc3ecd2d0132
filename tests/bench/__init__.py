"""`make bench`: measures and writes docs/benchmarks.md. No test: a time is never a verdict."""
