"""The lessons, runnable: jaxfound beside NumPy and scikit-learn, number by number, with figures.

One lesson is one file. To add one, copy `sigmoid.py`: the decorator is all that registers it.
Read `registry` first (what a lesson returns), then `runner` and `report` (the page).
"""

from jaxfound.experiments.registry import Check, Lesson, Result, catalogue, lesson

__all__ = ["Check", "Lesson", "Result", "catalogue", "lesson"]
