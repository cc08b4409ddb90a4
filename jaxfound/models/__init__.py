"""The models, one algorithm a file. Start with `ridge`: every other file has its shape."""

from jaxfound.models import (
    incremental_pca,
    linear,
    linear_svm,
    logistic,
    pca,
    probabilistic_pca,
    ridge,
    scaling,
    svm,
)

__all__ = [
    "incremental_pca",
    "linear",
    "linear_svm",
    "logistic",
    "pca",
    "probabilistic_pca",
    "ridge",
    "scaling",
    "svm",
]
