"""The models, one algorithm a file. Start with `ridge`: every other file has its shape."""

from jaxfound.models import linear, logistic, pca, ridge, scaling

__all__ = ["linear", "logistic", "pca", "ridge", "scaling"]
