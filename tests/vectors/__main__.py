"""Writes the vectors of tests/vectors: `python3 -m tests.vectors`."""

from tests.vectors import generate, signed

generate.gpt()
generate.release()
generate.bootctl()
signed.trust()
