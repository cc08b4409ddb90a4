"""Whole experiments as one program: folds, sizes and candidates are lanes of one map over `fit`."""

from jaxfound.model_selection import execute, folds, scoring, search

__all__ = ["execute", "folds", "scoring", "search"]
