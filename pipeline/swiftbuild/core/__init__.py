"""Decisions only: no file, socket, clock, environment or randomness."""
