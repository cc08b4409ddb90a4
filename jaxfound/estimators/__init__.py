"""The scikit-learn face: validate, cast, `models.fit`, attributes with a trailing underscore."""

from jaxfound.estimators.decomposition import PCA, IncrementalPCA
from jaxfound.estimators.forest import RandomForestClassifier, RandomForestRegressor
from jaxfound.estimators.linear import GradientDescentRegressor, LinearRegression, Ridge
from jaxfound.estimators.linear_svm import LinearSVC
from jaxfound.estimators.logistic import LogisticRegression
from jaxfound.estimators.scaling import StandardScaler
from jaxfound.estimators.svm import SVC, SVR
from jaxfound.estimators.tree import DecisionTreeClassifier, DecisionTreeRegressor

__all__ = [
    "PCA",
    "SVC",
    "SVR",
    "DecisionTreeClassifier",
    "DecisionTreeRegressor",
    "GradientDescentRegressor",
    "IncrementalPCA",
    "LinearRegression",
    "LinearSVC",
    "LogisticRegression",
    "RandomForestClassifier",
    "RandomForestRegressor",
    "Ridge",
    "StandardScaler",
]
