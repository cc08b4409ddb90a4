"""The table of benchmarks: one row a model, its data, its rivals and how exact it must be.

Adding a model is adding a row: `fit(...)` for an estimator with scikit-learn's name, `Case(...)`
for anything else.
"""

from functools import partial
from typing import Any

import numpy as np
from sklearn.datasets import load_digits, make_classification, make_regression

import jaxfound as jf
from benchmarks import baselines, experiments, networks
from benchmarks.case import Case, Contender
from benchmarks.trees import NumpyTree, forest, judged
from jaxfound.models import linear, logistic, pca, ridge, scaling

__all__ = ["CASES"]


# --- data -------------------------------------------------------------------------------------


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


def _noisy_plane(rng, n, d):
    del rng
    return make_regression(n, d, noise=0.1, random_state=42)


def _correlated(rng, n, d, k):
    # Signal in twice as many directions as components are wanted, and noise in all.
    r = min(2 * (k or 50), d)
    signal = rng.standard_normal((n, r)) * np.linspace(10, 1, r)
    return (signal @ rng.standard_normal((r, d)) / np.sqrt(d) + rng.standard_normal((n, d)) + 3,)


# --- answers: what must agree -----------------------------------------------------------------


def _coefficients(model):
    return np.append(np.ravel(model.coef_), model.intercept_)


def _probabilities(model):
    # Coefficients of nearly separable data are loose at any tolerance; probabilities are not.
    return np.asarray(model.predict_proba(load_digits().data.astype(model.coef_.dtype)))


def _decisions(model):
    # The duals of two right fits may differ; what they decide does not.
    rows = np.random.default_rng(1).standard_normal((100, model.n_features_in_))
    return np.asarray(model.decision_function(rows.astype(model.support_vectors_.dtype)))


def _scales(model):
    return np.append(model.mean_, model.scale_)


# --- rows -------------------------------------------------------------------------------------


def _fit(name, suite, estimator, module, data, answer, tolerance, numpy=None, **rest):
    """An estimator's `fit` or `method`, NumPy in and out, beside those of the same name."""
    options, method = rest.pop("options", {}), rest.pop("method", "")
    faster = module.replace("sklearn.", "sklearnex.", 1)

    def contender(library, module, **more):
        def make():
            cls = getattr(__import__(module, fromlist=["_"]), estimator)
            return _caller(lambda *data: cls(**options, **more).fit(*data), method)

        return Contender(library, make, np.asarray if method else answer)

    contenders = {
        "jax": contender("jax", "jaxfound"),
        "numpy": Contender("numpy", lambda: numpy),
        "sklearn": contender("sklearn", module),
        "sklearnex": contender(faster, faster),  # which has not all of the modules
    }
    if numpy is None:
        del contenders["numpy"]
    tight = contender("sklearn", module, tol=1e-6)
    exact = numpy or (lambda *data: tight.answer(tight.make()(*data)))
    return Case(name, suite, data, contenders, exact, tolerance, **rest)


def _caller(fit, method):
    """The fit itself, or a method of a model that the first call fits."""
    models: list[Any] = []

    def call(*data):
        if not models:
            models.append(fit(*data))
        return getattr(models[0], method)(*data)

    return call if method else fit


WIDE = {
    "small": ((20_000, 50),),
    "medium": ((1_000_000, 50), (100_000, 128), (20_000, 500)),
    "large": ((5_000_000, 128), (500_000, 128), (244_000, 1024)),
}
_linear = partial(_fit, suite="linear", module="sklearn.linear_model", sizes=WIDE)
_svc = partial(
    _fit,
    suite="svm",
    estimator="SVC",
    module="sklearn.svm",
    answer=_decisions,
    tolerance=5e-3,
)


def _pca(k, small, medium, large, name="", method=""):
    transform = f"pca-transform-{k or 'all'}"
    return _fit(
        name or (transform if method else f"pca-{k}"),
        "pca",
        "PCA",
        "sklearn.decomposition",
        lambda rng, n, d: _correlated(rng, n, d, k),
        lambda model: model.explained_variance_,
        1e-4,
        None if method else lambda X: baselines.pca(X, k)[0],
        options={"n_components": k},
        method=method,
        sizes={"small": small, "medium": medium, "large": large},
        program=None if method or k is None else lambda x: pca.fit(x, config=pca.Config(k)),
    )


def _search(name, data, size, tolerance):
    experiment = experiments.EXPERIMENTS[name]
    return Case(
        name,
        "search",
        data,
        {
            "jax": Contender("jax", lambda: partial(experiments.ours, experiment)),
            "sklearn": Contender("sklearn", lambda: partial(experiments.theirs, experiment)),
        },
        partial(experiments.theirs, experiment),
        tolerance,
        {"small": ((min(size[0], 500), size[1]),), "medium": (size,), "large": (size,)},
        distance=lambda answer, exact: float(np.abs(answer - exact).max()),
        dtypes=("float64",),
        resident=False,
    )


def _descended(x, y):
    return jf.GradientDescentRegressor(0.1, 500).fit(x, y)


def _guess(result):
    return result()


CASES = (
    _linear(
        "ols",
        estimator="LinearRegression",
        data=_regression,
        answer=_coefficients,
        tolerance=1e-4,
        numpy=baselines.ridge,
        program=linear.fit,
    ),
    _linear(
        "ridge",
        estimator="Ridge",
        data=_regression,
        answer=_coefficients,
        tolerance=1e-4,
        numpy=partial(baselines.ridge, penalty=1.0),
        program=ridge.fit,
    ),
    _linear(
        "logistic",
        estimator="LogisticRegression",
        data=_binary,
        answer=_coefficients,
        tolerance=5e-3,
        numpy=baselines.logistic,
        program=lambda x, y: logistic.fit(x, y, config=logistic.Config("newton")),
    ),
    _linear(
        "logistic-10",
        estimator="LogisticRegression",
        data=_digits,
        answer=_probabilities,
        tolerance=5e-2,
        sizes={"small": ((1797, 64),), "medium": ((100_000, 64),), "large": ((1_000_000, 64),)},
        options={"max_iter": 1000},
    ),
    Case(
        "gradient-descent",
        "linear",
        _regression,
        {
            "jax": Contender("jax", lambda: _descended, _coefficients),
            "numpy": Contender("numpy", lambda: baselines.gradient_descent),
        },
        baselines.gradient_descent,
        1e-3,
        {"small": ((2000, 50),), "medium": ((100_000, 50),), "large": ((1_000_000, 50),)},
    ),
    _linear(
        "scaler",
        estimator="StandardScaler",
        module="sklearn.preprocessing",
        data=_features,
        answer=_scales,
        tolerance=1e-4,
        numpy=baselines.moments,
        program=scaling.fit,
    ),
    _svc(
        "svc",
        data=_clusters,
        sizes={
            "small": ((1000, 20),),
            "medium": ((1000, 20), (10_000, 20), (20_000, 20)),
            "large": ((32_000, 64),),
        },
    ),
    _svc(
        "svc-1000",
        data=_clusters,
        options={"C": 1000.0},
        sizes={"small": ((500, 20),), "medium": ((1000, 20),), "large": ((1000, 20),)},
    ),
    _svc(
        "svc-digits",
        data=_digits,
        options={"decision_function_shape": "ovo"},
        sizes={"small": ((500, 64),), "medium": ((1797, 64),), "large": ((1797, 64),)},
    ),
    _pca(10, ((20_000, 50),), ((500_000, 50),), ((5_000_000, 50),)),
    _pca(32, (), ((100_000, 128),), ((1_000_000, 128),)),
    _pca(50, (), ((20_000, 1000),), ((100_000, 1024),)),
    _pca(50, (), ((2_000, 784),), (), name="pca-2k-50"),
    _pca(None, (), ((2_000, 784),), (), name="pca-2k-all"),
    _pca(10, ((20_000, 50),), ((500_000, 50),), (), method="transform"),
    _pca(32, (), ((100_000, 128),), (), method="transform"),
    _pca(50, (), ((20_000, 1000),), (), method="transform"),
    Case(
        "cnn",
        "nets",
        networks.pictures,
        {
            "jax": Contender("jax", networks.cnn_jaxfound, _guess),
            "torch": Contender("torch", networks.cnn_torch, _guess),
            "keras": Contender("keras", networks.cnn_keras, _guess),
        },
        lambda x, y: y,
        0.5,  # of the guesses after one epoch may be wrong: whoever learned is right
        {"small": ((20, 128),), "medium": ((30, 128),), "large": ((400, 128),)},
        distance=lambda guesses, y: float(np.mean(guesses != y)),
        dtypes=("float32",),
        resident=False,
    ),
    Case(
        "lstm",
        "nets",
        networks.texts,
        {
            "jax": Contender("jax", networks.lstm_jaxfound, _guess),
            "torch": Contender("torch", networks.lstm_torch, _guess),
            "keras": Contender("keras", networks.lstm_keras, _guess),
        },
        lambda x, y: y,
        0.4,  # one word tells the class, and who trains finds it
        {"small": ((5, 64),), "medium": ((20, 64),), "large": ((400, 64),)},
        distance=lambda guesses, y: float(np.mean(guesses != y)),
        dtypes=("float32",),
        resident=False,
    ),
    judged(
        "tree",
        "DecisionTreeClassifier",
        _clusters,
        (10_000, 20),
        0.02,
        module="sklearn.tree",
        numpy=NumpyTree,
        max_depth=NumpyTree.depth,
    ),
    forest("forest-1k", "RandomForestClassifier", _clusters, (1000, 20), 0.03, n_estimators=100),
    forest("forest-10k", "RandomForestClassifier", _clusters, (10_000, 20), 0.01, n_estimators=100),
    forest(
        "forest-100k", "RandomForestClassifier", _clusters, (100_000, 20), 0.01, n_estimators=10
    ),
    forest(
        "forest-regression",
        "RandomForestRegressor",
        _noisy_plane,
        (1000, 10),
        0.03,
        n_estimators=100,
    ),
    _search("svc-curve", _clusters, (1000, 20), 1e-6),
    # At large gamma the sign of a decision is rounding.
    _search("svc-grid", _clusters, (1000, 20), 0.01),
    _search("ridge-path", _regression, (100_000, 64), 1e-6),
    _search("logistic-path", _binary, (100_000, 50), 1e-3),
    _search("digits-pipeline", _digits, (1797, 64), 5e-3),
)
