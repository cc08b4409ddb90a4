"""Data sets that come with the package."""

from jaxfound.data import images

__all__ = ["images"]
