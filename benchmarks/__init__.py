"""Benchmarks: each states its question, prints JSON, and runs as ``python -m benchmarks.NAME``."""
