"""Benchmarks: `jaxfound bench`, from the root of the source tree. Rows are in `cases.py`."""

__all__: list[str] = []
