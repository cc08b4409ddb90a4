"""The models, one algorithm a file. Start with `ridge`: every other file has its shape."""

from jaxfound.models import (
    forest,
    incremental_pca,
    linear,
    linear_svm,
    logistic,
    pca,
    probabilistic_pca,
    ridge,
    scaling,
    soft_tree,
    svm,
    tree,
)

__all__ = [
    "forest",
    "incremental_pca",
    "linear",
    "linear_svm",
    "logistic",
    "pca",
    "probabilistic_pca",
    "ridge",
    "scaling",
    "soft_tree",
    "svm",
    "tree",
]
