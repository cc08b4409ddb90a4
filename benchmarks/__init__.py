"""Benchmarks: `python -m benchmarks.run`."""

__all__: list[str] = []
