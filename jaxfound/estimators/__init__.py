"""The scikit-learn face: validate, cast, `models.fit`, attributes with a trailing underscore."""

from jaxfound.estimators.decomposition import PCA, IncrementalPCA
from jaxfound.estimators.linear import GradientDescentRegressor, LinearRegression, Ridge
from jaxfound.estimators.logistic import LogisticRegression
from jaxfound.estimators.scaling import StandardScaler

__all__ = [
    "PCA",
    "GradientDescentRegressor",
    "IncrementalPCA",
    "LinearRegression",
    "LogisticRegression",
    "Ridge",
    "StandardScaler",
]
