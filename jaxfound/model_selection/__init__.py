"""Whole experiments as one program: folds, sizes and candidates are lanes of one map over `fit`.

`search` and `folds` are pure functions for any model of `jaxfound.models`. The functions and
classes with scikit-learn's names take estimators, and are their faces.
"""

import importlib
from typing import Any

from jaxfound.model_selection import execute, folds, pipeline, scoring, search

_FACES = {
    "GridSearchCV": "search",
    "HalvingGridSearchCV": "search",
    "RandomizedSearchCV": "search",
    "cross_val_predict": "validation",
    "cross_val_score": "validation",
    "cross_validate": "validation",
    "learning_curve": "validation",
    "permutation_test_score": "validation",
    "validation_curve": "validation",
}

__all__ = [*_FACES, "execute", "folds", "pipeline", "scoring", "search"]


def __getattr__(name: str) -> Any:
    # Lazily (PEP 562): they stand above this room, since they need the estimators.
    if name in _FACES:
        return getattr(importlib.import_module(f"jaxfound.estimators.{_FACES[name]}"), name)
    raise AttributeError(f"module 'jaxfound.model_selection' has no attribute {name!r}")
