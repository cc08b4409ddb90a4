"""Data: where rows that need not fit in memory come from, and the sets in the package."""

from jaxfound.data import images
from jaxfound.data.sources import Rows, open_rows

__all__ = ["Rows", "images", "open_rows"]
