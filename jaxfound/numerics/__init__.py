"""Numerical building blocks. Nothing in this room knows a model."""

__all__: list[str] = []
