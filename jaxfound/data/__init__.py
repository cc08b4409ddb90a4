"""Data: where rows that need not fit in memory come from, sets, and texts as integers."""

from jaxfound.data import images, reviews, text
from jaxfound.data.sources import Rows, open_rows

__all__ = ["Rows", "images", "open_rows", "reviews", "text"]
