"""The table of benchmarks: one row a model, its data, its rivals and how exact it must be.

Adding a model is adding a row.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.datasets import load_digits, make_classification, make_regression

import jaxfound as jf

__all__ = ["CASES", "Case", "rivals"]

SIZES = ((1_000_000, 50), (100_000, 128), (20_000, 500))


@dataclasses.dataclass(frozen=True)
class Case:
    """`fit` of an estimator, NumPy in and NumPy out."""

    name: str
    estimator: str  # jaxfound's, and scikit-learn's of the same name
    module: str  # of scikit-learn
    data: Callable[[np.random.Generator, int, int], tuple[Any, ...]]
    answer: Callable[[Any], np.ndarray]  # what must agree
    tolerance: float  # of it, in float32, relative to its largest entry
    numpy: Callable[..., np.ndarray] | None = None  # what a good NumPy user would write
    sizes: tuple[tuple[int, int], ...] = SIZES
    options: tuple[tuple[str, Any], ...] = ()
    method: str = ""  # to time in place of `fit`, on a model that the first call fits


def _regression(rng, n, d):
    X = rng.standard_normal((n, d))
    return X, X @ rng.standard_normal(d) + rng.standard_normal(n)


def _binary(rng, n, d):
    X = rng.standard_normal((n, d))
    odds = 2 * X @ rng.standard_normal(d) / np.sqrt(d)
    return X, (odds + rng.logistic(size=n) > 0).astype(np.int64)


def _digits(rng, n, d):
    del rng, d
    X, y = load_digits(return_X_y=True)
    rows = np.arange(n) % len(X)
    return X[rows], y[rows]


def _features(rng, n, d):
    return (3 + 2 * rng.standard_normal((n, d)),)


def _clusters(rng, n, d):
    del rng
    return make_classification(n, d, random_state=42)


def _curve(rng, n, d):
    del rng
    return make_regression(n, d, noise=0.1, random_state=42)


def _score(X, y):
    # Forests draw from other streams: how well they do on new rows must agree.
    return lambda model: np.array([model.score(X.astype(np.float32), y)])


def _forest(name, estimator, data, n, d, trees, tolerance):
    new = data(None, 2 * n, d)
    return Case(
        name,
        estimator,
        "sklearn.ensemble",
        lambda rng, n, d: tuple(part[:n] for part in data(rng, 2 * n, d)),
        _score(new[0][n:], new[1][n:]),
        tolerance,
        sizes=((n, d),),
        options=(("n_estimators", trees), ("random_state", 0), ("n_jobs", -1)),
    )


def _coefficients(model):
    return np.append(np.ravel(model.coef_), model.intercept_)


def _probabilities(model):
    # Coefficients of nearly separable data are loose at any tolerance; probabilities are not.
    return np.asarray(model.predict_proba(load_digits().data.astype(model.coef_.dtype)))


def _decisions(model):
    # The duals of two right fits may differ; what they decide does not.
    rows = np.random.default_rng(1).standard_normal((100, model.n_features_in_))
    return np.asarray(model.decision_function(rows.astype(model.support_vectors_.dtype)))


def _normal_equations(X, y, ridge=0.0):
    x_mean, y_mean = X.mean(0), y.mean()
    X, y = X - x_mean, y - y_mean
    gram = X.T @ X + np.asarray(ridge, X.dtype) * np.eye(X.shape[1], dtype=X.dtype)
    coef = np.linalg.solve(gram, X.T @ y)
    return np.append(coef, y_mean - x_mean @ coef)


def _newton(X, y, penalty=1.0, steps=8):
    X = np.column_stack([X, np.ones(len(X), X.dtype)])
    ridge = np.append(np.full(X.shape[1] - 1, penalty), 0).astype(X.dtype)
    theta = np.zeros(X.shape[1], X.dtype)
    for _ in range(steps):  # `steps` bounds the loop; the gradient ends it
        p = 1 / (1 + np.exp(-X @ theta))
        gradient = X.T @ (p - y) + ridge * theta
        step = np.linalg.solve((X * (p * (1 - p))[:, None]).T @ X + np.diag(ridge), gradient)
        theta = theta - step
        if np.abs(gradient).max() < 1e-4 * len(X):
            break
    return theta


def _correlated(rng, n, d, k):
    # Signal in twice as many directions as components are wanted, and noise in all.
    r = min(2 * k, d)
    signal = rng.standard_normal((n, r)) * np.linspace(10, 1, r)
    return (signal @ rng.standard_normal((r, d)) / np.sqrt(d) + rng.standard_normal((n, d)) + 3,)


def _variances(X, k):
    X = X - X.mean(0)
    values, vectors = np.linalg.eigh(X.T @ X / np.asarray(len(X) - 1, X.dtype))
    _ = vectors[:, ::-1][:, :k].T  # the components, which a rival must find too
    return values[::-1][:k]


def _pca(n, d, k, name="", tolerance=1e-4):
    return Case(
        name or f"pca-{k}",
        "PCA",
        "sklearn.decomposition",
        lambda rng, n, d: _correlated(rng, n, d, k or 50),
        lambda model: model.explained_variance_,
        tolerance,
        lambda X: _variances(X, k),
        sizes=((n, d),),
        options=(("n_components", k),),
    )


def _transform(n, d, k):
    # The fit is not timed: the first call keeps the model.
    return dataclasses.replace(
        _pca(n, d, k, name=f"pca-transform-{k}"),
        numpy=None,
        method="transform",
        answer=np.asarray,
    )


def _moments(X):
    return np.append(X.mean(0), X.std(0))


CASES = (
    Case(
        "ols",
        "LinearRegression",
        "sklearn.linear_model",
        _regression,
        _coefficients,
        1e-4,
        _normal_equations,
    ),
    Case(
        "ridge",
        "Ridge",
        "sklearn.linear_model",
        _regression,
        _coefficients,
        1e-4,
        lambda X, y: _normal_equations(X, y, ridge=1.0),
    ),
    Case(
        "logistic",
        "LogisticRegression",
        "sklearn.linear_model",
        _binary,
        _coefficients,
        5e-3,
        _newton,
    ),
    Case(
        "logistic-10",
        "LogisticRegression",
        "sklearn.linear_model",
        _digits,
        _probabilities,
        5e-2,
        sizes=((100_000, 64),),
        options=(("max_iter", 1000),),
    ),
    Case(
        "svc",
        "SVC",
        "sklearn.svm",
        _clusters,
        _decisions,
        5e-3,
        sizes=((1000, 20), (10_000, 20), (20_000, 20)),
    ),
    Case(
        "svc-1000",
        "SVC",
        "sklearn.svm",
        _clusters,
        _decisions,
        5e-3,
        sizes=((1000, 20),),
        options=(("C", 1000.0),),
    ),
    Case(
        "svc-digits",
        "SVC",
        "sklearn.svm",
        _digits,
        _decisions,
        5e-3,
        sizes=((1797, 64),),
        options=(("decision_function_shape", "ovo"),),
    ),
    Case(
        "scaler",
        "StandardScaler",
        "sklearn.preprocessing",
        _features,
        lambda model: np.append(model.mean_, model.scale_),
        1e-4,
        _moments,
    ),
    _pca(500_000, 50, 10),
    _pca(100_000, 128, 32),
    _pca(20_000, 1000, 50),
    _pca(2_000, 784, 50, name="pca-2k-50"),
    _pca(2_000, 784, None, name="pca-2k-all"),
    _transform(500_000, 50, 10),
    _transform(100_000, 128, 32),
    _transform(20_000, 1000, 50),
    _forest("forest-1k", "RandomForestClassifier", _clusters, 1000, 20, 100, 0.03),
    _forest("forest-10k", "RandomForestClassifier", _clusters, 10_000, 20, 100, 0.01),
    _forest("forest-100k", "RandomForestClassifier", _clusters, 100_000, 20, 10, 0.01),
    _forest("forest-regression", "RandomForestRegressor", _curve, 1000, 10, 100, 0.03),
)


def rivals(case: Case) -> dict[str, Callable[..., np.ndarray]]:
    """Functions from the data to the answer: ours first, then whoever is installed."""

    def estimator(cls):
        def fit(*data):
            return cls(**dict(case.options)).fit(*data)

        if case.method:
            return _fitted_once(fit, case)
        return lambda *data: case.answer(fit(*data))

    found = {"jaxfound": estimator(getattr(jf, case.estimator))}
    for name, module in (("scikit-learn", case.module), ("sklearnex", _accelerated(case.module))):
        try:
            found[name] = estimator(getattr(__import__(module, fromlist=["_"]), case.estimator))
        except (ImportError, AttributeError):
            continue  # the report lists who is absent
    if case.numpy is not None:
        found["NumPy"] = case.numpy
    return found


def _fitted_once(fit, case):
    models = []

    def call(*data):
        if not models:
            models.append(fit(*data))
        return case.answer(getattr(models[0], case.method)(*data))

    return call


def _accelerated(module):
    return module.replace("sklearn.", "sklearnex.", 1)
