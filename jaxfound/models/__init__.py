"""The models, one algorithm a file. Start with `ridge`: every other file has its shape."""

from jaxfound.models import (
    incremental_pca,
    linear,
    logistic,
    pca,
    probabilistic_pca,
    ridge,
    scaling,
)

__all__ = [
    "incremental_pca",
    "linear",
    "logistic",
    "pca",
    "probabilistic_pca",
    "ridge",
    "scaling",
]
