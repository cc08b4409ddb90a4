"""The models, one algorithm a file. Start with `ridge`: every other file has its shape."""

from jaxfound.models import linear, logistic, ridge, scaling, svm

__all__ = ["linear", "logistic", "ridge", "scaling", "svm"]
