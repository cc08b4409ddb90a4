"""Classical machine learning as pure JAX functions.

Three doors into the same code:

- `jaxfound.models`: pure functions `fit` and `predict`, to `jit`, `vmap`, `grad` and shard;
- `jaxfound.Ridge` and its kin: scikit-learn estimators;
- the command `jaxfound`: the lessons, and the benchmarks.

Newcomers read `models/ridge.py` first: every model has its shape. Then `numerics/reduce.py`, the
one reduction under all of them, and `estimators/_base.py`, what an estimator adds to a model.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "CNNClassifier": "jaxfound.estimators.neural_images",
    "LSTMClassifier": "jaxfound.estimators.neural_text",
    "IncrementalPCA": "jaxfound.estimators.decomposition",
    "PCA": "jaxfound.estimators.decomposition",
    "DecisionTreeClassifier": "jaxfound.estimators.tree",
    "DecisionTreeRegressor": "jaxfound.estimators.tree",
    "GradientDescentRegressor": "jaxfound.estimators.linear",
    "LinearRegression": "jaxfound.estimators.linear",
    "LinearSVC": "jaxfound.estimators.linear_svm",
    "LogisticRegression": "jaxfound.estimators.logistic",
    "RandomForestClassifier": "jaxfound.estimators.forest",
    "RandomForestRegressor": "jaxfound.estimators.forest",
    "Ridge": "jaxfound.estimators.linear",
    "SVC": "jaxfound.estimators.svm",
    "SVR": "jaxfound.estimators.svm",
    "StandardScaler": "jaxfound.estimators.scaling",
    "config_context": "jaxfound._config",
    "AttributionDisplay": "jaxfound.estimators.input_displays",
    "PartialDependenceDisplay": "jaxfound.estimators.input_displays",
    "PermutationImportanceDisplay": "jaxfound.estimators.input_displays",
    "CoefficientDisplay": "jaxfound.estimators.fit_displays",
    "InfluenceDisplay": "jaxfound.estimators.fit_displays",
    "PredictionIntervalDisplay": "jaxfound.estimators.fit_displays",
}
_ROOMS = (
    "data",
    "estimators",
    "experiments",
    "inspect",
    "metrics",
    "model_selection",
    "models",
    "nn",
    "numerics",
    "parallel",
    "streaming",
)

__all__ = [
    "PCA",
    "SVC",
    "SVR",
    "AttributionDisplay",
    "CNNClassifier",
    "CoefficientDisplay",
    "DecisionTreeClassifier",
    "DecisionTreeRegressor",
    "GradientDescentRegressor",
    "IncrementalPCA",
    "InfluenceDisplay",
    "LSTMClassifier",
    "LinearRegression",
    "LinearSVC",
    "LogisticRegression",
    "PartialDependenceDisplay",
    "PermutationImportanceDisplay",
    "PredictionIntervalDisplay",
    "RandomForestClassifier",
    "RandomForestRegressor",
    "Ridge",
    "StandardScaler",
    "config_context",
    "data",
    "estimators",
    "experiments",
    "inspect",
    "metrics",
    "model_selection",
    "models",
    "nn",
    "numerics",
    "parallel",
    "streaming",
]

if TYPE_CHECKING:
    from jaxfound import (
        data,
        estimators,
        experiments,
        inspect,
        metrics,
        model_selection,
        models,
        nn,
        numerics,
        parallel,
        streaming,
    )
    from jaxfound._config import config_context
    from jaxfound.estimators.decomposition import PCA, IncrementalPCA
    from jaxfound.estimators.fit_displays import (
        CoefficientDisplay,
        InfluenceDisplay,
        PredictionIntervalDisplay,
    )
    from jaxfound.estimators.forest import RandomForestClassifier, RandomForestRegressor
    from jaxfound.estimators.input_displays import (
        AttributionDisplay,
        PartialDependenceDisplay,
        PermutationImportanceDisplay,
    )
    from jaxfound.estimators.linear import GradientDescentRegressor, LinearRegression, Ridge
    from jaxfound.estimators.linear_svm import LinearSVC
    from jaxfound.estimators.logistic import LogisticRegression
    from jaxfound.estimators.neural_images import CNNClassifier
    from jaxfound.estimators.neural_text import LSTMClassifier
    from jaxfound.estimators.scaling import StandardScaler
    from jaxfound.estimators.svm import SVC, SVR
    from jaxfound.estimators.tree import DecisionTreeClassifier, DecisionTreeRegressor


def __getattr__(name: str) -> Any:
    # Lazily (PEP 562), so that the import costs what `import jax` costs.
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _ROOMS:
        return importlib.import_module(f"jaxfound.{name}")
    raise AttributeError(f"module 'jaxfound' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
