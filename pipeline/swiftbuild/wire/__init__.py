"""Bytes to model and back; no file, no clock."""
