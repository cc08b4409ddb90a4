"""The pure function behind an estimator: its model, the numbers that are traced, the settings."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from sklearn.pipeline import Pipeline as Chain

from jaxfound._checks import check_number
from jaxfound.estimators import linear as linear_estimators
from jaxfound.estimators._tree_model import check_supported, tree_settings
from jaxfound.estimators.decomposition import PCA
from jaxfound.estimators.forest import RandomForestClassifier, RandomForestRegressor
from jaxfound.estimators.linear_svm import LinearSVC
from jaxfound.estimators.logistic import LogisticRegression
from jaxfound.estimators.scaling import StandardScaler
from jaxfound.estimators.svm import SVC, SVR, class_rows
from jaxfound.estimators.tree import DecisionTreeClassifier, DecisionTreeRegressor
from jaxfound.model_selection.pipeline import Pipeline
from jaxfound.models import forest, linear, linear_svm, logistic, pca, ridge, scaling, svm, tree

__all__ = ["Functional", "Shape", "functional"]


class Shape(NamedTuple):
    """What settings may depend on."""

    n: int  # rows of the smallest fit
    d: int
    n_classes: int | None
    largest_class: int  # rows
    dtype: np.dtype


class Functional(NamedTuple):
    model: Any
    hyper: Any
    config: Any
    class_weight: Any = None


def functional(estimator: Any, shape: Shape) -> Functional:
    """What `fit` of the estimator would call.

    Raises:
      TypeError: for an estimator that is not jaxfound's.
    """
    if isinstance(estimator, Chain):
        return _chain(estimator, shape)
    for known, convert in _CONVERSIONS.items():
        if isinstance(estimator, known):
            return convert(estimator, shape)
    name = type(estimator).__name__
    raise TypeError(
        f"estimator is a {name} of {type(estimator).__module__}, expected one of jaxfound's, or a "
        "Pipeline of them: for others take sklearn.model_selection, whose functions have the same "
        "names and accept jaxfound's estimators too."
    )


@dataclasses.dataclass(frozen=True)
class _Column:
    """A stage that appends a constant column, whose coefficient is a penalised intercept."""

    value: float

    def fit(self, x, weight=None):
        del x, weight

    def transform(self, params, x):
        del params
        return jnp.pad(x, ((0, 0), (0, 1)), constant_values=self.value)


def _chain(estimator, shape):
    *before, last = _stages(estimator)
    parts = []
    for stage in before:
        parts.append(functional(stage, shape))
        if not hasattr(parts[-1].model, "transform"):
            model = parts[-1].model
            raise TypeError(f"{model} is no transformer, expected one before the last step.")
        shape = shape._replace(d=_width(parts[-1], shape.d))
    parts.append(functional(last, shape))
    return _joined(parts, parts[-1].class_weight)


def _stages(chain):
    """The stages of a chain, and those of the chains in it."""
    for _, stage in chain.steps:
        if isinstance(stage, Chain):
            yield from _stages(stage)
        elif stage is not None and stage != "passthrough":
            yield stage


def _width(part, d):
    """How many features the stage after this one sees."""
    return part.config.n_components if part.model is pca else d


def _joined(parts, class_weight):
    models, hypers, configs = zip(*(part[:3] for part in parts), strict=True)
    return Functional(Pipeline(models), hypers, configs, class_weight)


def _behind_column(value, found):
    stage = Functional(_Column(check_number("intercept_scaling", value, above=0)), None, None)
    return _joined([stage, found], found.class_weight)


def _scaler(estimator, shape):
    del shape
    if not (estimator.with_mean and estimator.with_std):
        raise ValueError(
            "StandardScaler inside an experiment got with_mean or with_std False, expected both "
            "True: take sklearn.model_selection for this one."
        )
    return Functional(scaling, None, None)


def _pca(estimator, shape):
    estimator._check_settings()
    k, n, d = estimator.n_components, shape.n, shape.d
    k = min(n, d) if k is None else k
    if not isinstance(k, int | np.integer) or k > min(n, d):
        raise ValueError(
            f"n_components of PCA is {k!r}, expected None or an integer of at most {min(n, d)} "
            "inside an experiment, whose arrays have one shape for all folds."
        )
    solver = "full" if estimator.svd_solver == "arpack" else estimator.svd_solver
    tol = estimator.tol or float(np.finfo(shape.dtype).eps) ** 0.6
    config = pca.Config(int(k), solver, bool(estimator.whiten), estimator.n_oversamples)
    return Functional(pca, pca.Hyper(tol=tol), config)


def _linear(estimator, shape):
    del shape
    config = ridge.Config(fit_intercept=estimator.fit_intercept, positive=estimator.positive)
    return Functional(linear, linear.Hyper(), config)


def _ridge(estimator, shape):
    alpha = check_number("alpha", estimator.alpha, least=0)
    tol = check_number("tol", estimator.tol, least=0)
    config = estimator._config(estimator.solver, np.empty((0, shape.d)))
    return Functional(ridge, ridge.Hyper(alpha, tol), config)


def _descent(estimator, shape):
    del shape
    hyper = linear.Hyper(learning_rate=estimator.learning_rate)
    return Functional(linear, hyper, estimator._config())


def _logistic(estimator, shape):
    C, l1_ratio = estimator._penalty()
    hyper = logistic.Hyper(C, l1_ratio, check_number("tol", estimator.tol, least=0))
    penalised = estimator.solver == "liblinear" and estimator.fit_intercept
    column = estimator.intercept_scaling if penalised else None
    config = estimator._config(l1_ratio, shape.n_classes, column)
    found = Functional(logistic, hyper, config, estimator.class_weight)
    return _behind_column(column, found) if penalised else found


def _linear_svc(estimator, shape):
    estimator._check_settings()
    hyper, config = estimator._settings(shape.n_classes)
    found = Functional(linear_svm, hyper, config, estimator.class_weight)
    fit_intercept = estimator.fit_intercept
    return _behind_column(estimator.intercept_scaling, found) if fit_intercept else found


def _machine(estimator, shape, **task):
    if estimator._is_given():
        raise ValueError(
            f"kernel is {estimator.kernel!r}, expected a named one inside an experiment: the folds "
            "of a Gram matrix cut columns too. Take sklearn.model_selection for this one."
        )
    if estimator.gamma == "auto":
        estimator.n_features_in_ = shape.d
    hyper, config = estimator._settings(**task)
    return Functional(svm, hyper, config, getattr(estimator, "class_weight", None))


def _svc(estimator, shape):
    k, rows = shape.n_classes, class_rows(shape.largest_class, shape.n_classes, (shape.n, shape.d))
    return _machine(estimator, shape, n_classes=k, class_rows=rows)


def _tree(estimator, shape):
    check_supported(estimator)
    if estimator.ccp_alpha > 0:
        raise ValueError(
            f"ccp_alpha is {estimator.ccp_alpha}, expected 0 inside an experiment, where trees are "
            "not pruned: limit them by max_depth, or take sklearn.model_selection for this one."
        )
    classes = (shape.n_classes or 1,)
    hyper, config = tree_settings(estimator, shape.n, shape.d, classes, shape.n)
    return Functional(tree, hyper, config, getattr(estimator, "class_weight", None))


def _forest(estimator, shape):
    _, hyper, config, class_weight = _tree(estimator, shape)
    share = estimator.max_samples
    drawn = np.inf if share is None else int(share * (shape.n if isinstance(share, float) else 1))
    balanced = class_weight == "balanced_subsample"
    config = forest.Config(config, estimator.n_estimators, estimator.bootstrap, balanced)
    class_weight = None if balanced else class_weight
    return Functional(forest, forest.Hyper(hyper, drawn), config, class_weight)


_CONVERSIONS: dict[type, Callable[[Any, Shape], Functional]] = {
    StandardScaler: _scaler,
    DecisionTreeClassifier: _tree,
    DecisionTreeRegressor: _tree,
    RandomForestClassifier: _forest,
    RandomForestRegressor: _forest,
    PCA: _pca,
    linear_estimators.LinearRegression: _linear,
    linear_estimators.Ridge: _ridge,
    linear_estimators.GradientDescentRegressor: _descent,
    LogisticRegression: _logistic,
    LinearSVC: _linear_svc,
    SVC: _svc,
    SVR: partial(_machine, task="regression"),
}
