"""Runs a plan: store, stat cache, thread pool."""
