"""The models, one algorithm a file. Start with `ridge`: every other file has its shape."""

from jaxfound.models import linear, linear_svm, logistic, ridge, scaling, svm

__all__ = ["linear", "linear_svm", "logistic", "ridge", "scaling", "svm"]
