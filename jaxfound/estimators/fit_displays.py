"""Displays of how far a fit can be trusted: its rows, its coefficients, its predictions."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import is_classifier
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import check_is_fitted

from jaxfound._checks import check_number, check_whole
from jaxfound.estimators._base import give_back
from jaxfound.estimators._drawing import (
    BLUE,
    GREY,
    ORANGE,
    Score,
    as_target,
    inputs,
    names,
    new_axes,
    on_device,
)
from jaxfound.estimators._functional import Shape, functional
from jaxfound.estimators._scope import compute_scope
from jaxfound.estimators.linear import LinearRegression
from jaxfound.estimators.logistic import LogisticRegression
from jaxfound.inspect import bootstrap, conformal, influence, uncertainty
from jaxfound.model_selection.folds import k_fold
from jaxfound.model_selection.scoring import as_scorers
from jaxfound.models import linear, logistic

__all__ = ["CoefficientDisplay", "InfluenceDisplay", "PredictionIntervalDisplay"]


class InfluenceDisplay:
    """How a score on other rows would change if single training rows were left out.

    Attributes:
      influence: `[n]`, the change of the score to first order, by one derivative.
      checked: `[c]`, the rows of largest influence, which really were left out.
      left_out: `[c]`, the change of the score that this made.
    """

    def __init__(self, influence: Any, checked: Any, left_out: Any):
        self.influence, self.checked, self.left_out = influence, checked, left_out

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        X_test: Any,
        y_test: Any,
        *,
        scoring: Any = None,
        n_checked: int = 20,
        ax: Any = None,
    ) -> "InfluenceDisplay":
        """Fits the settings of `estimator` to `X` `[n d]` and judges it on `X_test` `[m d]`.

        Args:
          estimator: one of jaxfound's or a pipeline; its settings count, it need not be fitted.
          scoring: a name, differentiable; None is "neg_log_loss" or "neg_mean_squared_error".
          n_checked: how many rows to leave out for comparison.
        """
        known, classes = estimator, np.unique(y) if is_classifier(estimator) else None
        loss = "neg_mean_squared_error" if classes is None else "neg_log_loss"
        ((_, scorer),) = as_scorers(scoring or loss)
        (x, dtype), (test, _) = inputs(known, X), inputs(known, X_test)
        check_consistent_length(X, y)
        found = _functional(estimator, x, y, classes)
        score = _Of(found.model, scorer)
        with compute_scope(dtype):
            target, hyper = as_target(classes, y, dtype), _solved(found.hyper, dtype)
            rows = jnp.asarray(x), jnp.asarray(target), None, hyper
            judge = jnp.asarray(test, dtype), jnp.asarray(as_target(classes, y_test, dtype))
            slopes = influence.influence(score, found.model, *rows, *judge, config=found.config)
            most = np.argsort(-np.abs(slopes))[: check_whole("n_checked", n_checked, least=1)]
            again = influence.left_out(
                score, found.model, jnp.asarray(most), *rows, *judge, config=found.config
            )
        return cls(np.array(slopes), most, np.array(again)).plot(ax=ax)

    def plot(self, ax: Any = None) -> "InfluenceDisplay":
        """What the derivative says against what leaving the row out did."""
        self.ax_, self.figure_ = new_axes(ax)
        ends = [self.left_out.min(), self.left_out.max()]
        self.ax_.plot(ends, ends, color=GREY, linewidth=1)
        self.ax_.scatter(self.left_out, self.influence[self.checked], color=BLUE, zorder=2)
        self.ax_.set(xlabel="change of score, row left out", ylabel="by derivative")
        return self


class CoefficientDisplay:
    """Coefficients with their confidence intervals.

    Attributes:
      inference: `jaxfound.inspect.uncertainty.Inference`: estimates, standard errors, tests and
        intervals, each with `coef` `[d]` and `intercept`. With `n_samples` it is an
        `inspect.bootstrap.Bootstrap`, without tests and with the samples.
    """

    def __init__(self, inference: Any, feature_names: Any):
        self.inference, self.feature_names = inference, feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        level: float = 0.95,
        n_samples: int | None = None,
        random_state: Any = None,
        feature_names: Any = None,
        ax: Any = None,
    ) -> "CoefficientDisplay":
        """From the rows `X` `[n d]`, `y` `[n]` that `estimator` was fitted to.

        Args:
          estimator: a fitted `LinearRegression`, or `LogisticRegression(C=numpy.inf)` of two
            classes. With `n_samples` any that has one coefficient a column, a penalty included.
          sample_weight: frequencies, as in `fit`.
          level: probability that an interval holds the coefficient.
          n_samples: None for the textbook's errors; a number for bootstrap intervals (BCa) from
            as many fits, which assume no law of the noise. Those of a fit with a penalty say how
            it varies, not how far the penalty has moved it.
          random_state: of the samples.

        Raises:
          ValueError: for a penalty, which makes intervals too short, or more than two classes.
          TypeError: for another estimator.
        """
        check_is_fitted(estimator)
        check_number("level", level, above=0, most=1)
        x, dtype = inputs(estimator, X)
        classes = getattr(estimator, "classes_", None)
        with compute_scope(dtype):
            weight = None if sample_weight is None else jnp.asarray(sample_weight, dtype)
            rows = jnp.asarray(x), jnp.asarray(as_target(classes, y, dtype))
            if n_samples is None:
                explain, params, config = _likelihood(estimator)
                found = explain(on_device(params, dtype), *rows, weight, level, config=config)
            else:
                draws = check_whole("n_samples", n_samples, least=2), random_state
                fit = _functional(estimator, x, y, classes)
                found = _drawn(fit, rows, weight, draws, level)
            found = give_back(found, x)
        return cls(found, names(feature_names, X, x.shape[1])).plot(ax=ax)

    def plot(self, ax: Any = None) -> "CoefficientDisplay":
        """One interval a column; filled where it leaves zero out."""
        self.ax_, self.figure_ = new_axes(ax)
        at = np.arange(len(self.feature_names))[::-1]
        known = self.inference
        coef, low, high = (p.coef for p in (known.estimate, known.low, known.high))
        clear = (low > 0) | (high < 0)
        self.ax_.hlines(at, low, high, color=np.where(clear, BLUE, GREY))
        self.ax_.scatter(coef, at, color=np.where(clear, BLUE, "white"), edgecolor=BLUE, zorder=3)
        self.ax_.axvline(0, color=GREY, linewidth=1)
        self.ax_.set_yticks(at, self.feature_names)
        self.ax_.set_xlabel("coefficient")
        return self


class PredictionIntervalDisplay:
    """Predictions with intervals that hold whatever the model (CV+).

    Attributes:
      prediction, low, high: `[m]`.
    """

    def __init__(self, x: Any, prediction: Any, low: Any, high: Any, y: Any = None):
        self.x, self.y = x, y
        self.prediction, self.low, self.high = prediction, low, high

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        X_new: Any,
        y_new: Any = None,
        *,
        cv: int = 10,
        level: float = 0.9,
        ax: Any = None,
    ) -> "PredictionIntervalDisplay":
        """Fits the settings of `estimator` once a fold, in one program.

        Args:
          estimator: a regression of jaxfound's or a pipeline; it need not be fitted.
          X, y: `[n d]`, `[n]`, in an order that means nothing.
          X_new, y_new: where to predict, and what came true, if known, to be drawn too.
          cv: number of folds; `len(X)` for jackknife+.
          level: probability that an interval holds the target.

        Raises:
          ValueError: for a classifier, or settings out of range.
        """
        if is_classifier(estimator):
            raise ValueError(f"estimator is {estimator!r}, expected a regression.")
        check_number("level", level, above=0, most=1)
        (x, dtype), (new, _) = inputs(estimator, X), inputs(estimator, X_new)
        check_consistent_length(X, y)
        found = _functional(estimator, x, y, None)
        with compute_scope(dtype):
            rows = jnp.asarray(x), jnp.asarray(y, dtype), jnp.asarray(new, dtype)
            folds = k_fold(len(x), check_whole("cv", cv, least=2)).test
            intervals = conformal.cross_conformal(
                found.model, *rows, folds, None, found.hyper, level=level, config=found.config
            )
            intervals = give_back(intervals, x)
        return cls(new, *intervals, y=y_new).plot(ax=ax)

    def plot(self, ax: Any = None) -> "PredictionIntervalDisplay":
        """Over the column where there is one, else over the rows, sorted by prediction."""
        self.ax_, self.figure_ = new_axes(ax)
        single = self.x.shape[1] == 1
        order = np.argsort(self.x[:, 0] if single else self.prediction)
        at = self.x[order, 0] if single else np.arange(len(order))
        self.ax_.fill_between(at, self.low[order], self.high[order], color=BLUE, alpha=0.2)
        self.ax_.plot(at, self.prediction[order], color=BLUE, linewidth=2)
        if self.y is not None:
            self.ax_.scatter(at, np.asarray(self.y)[order], color=ORANGE, s=12, zorder=3)
        self.ax_.set(xlabel="x" if single else "row, by prediction", ylabel="target")
        return self


@dataclasses.dataclass(frozen=True)
class _Of:
    """The score of a fit on other rows: a quantity `(params, x, y)`, hashable."""

    model: Any
    scorer: Any

    def __call__(self, params: Any, x: Any, y: Any) -> Any:
        return Score(getattr(self.model, self.scorer.output), self.scorer)(params, x, y)


def _functional(estimator, x, y, classes):
    counts = [len(x)] if classes is None else np.unique(y, return_counts=True)[1]
    k = None if classes is None else len(classes)
    found = functional(estimator, Shape(x.shape[0], x.shape[1], k, int(max(counts)), x.dtype))
    if found.class_weight is not None:
        raise ValueError("class_weight is set, expected None: the rows are compared as they are.")
    return found._replace(hyper=jax.tree.map(np.asarray, found.hyper))


def _solved(hyper, dtype):
    """Hypers of a fit to the end: single rows change a score by less than `tol` usually does."""
    if hasattr(hyper, "tol"):
        return hyper._replace(tol=np.finfo(dtype).eps ** 0.6)
    return (*hyper[:-1], _solved(hyper[-1], dtype))


def _drawn(fit, rows, weight, draws, level):
    """Bootstrap intervals of the coefficients, for `draws`: how many samples, from what state."""
    n_samples, state = draws
    key = jax.random.key(check_random_state(state).randint(2**31 - 1))
    return bootstrap.intervals(
        *(_one_a_column, fit.model, *rows, key, weight, fit.hyper),
        level=level,
        n_samples=n_samples,
        method="bca",
        config=fit.config,
    )


def _one_a_column(params):
    """The quantity that is drawn: `coef` `[d]` and `intercept`.

    Raises:
      TypeError: for params without them.
    """
    coef = getattr(params, "coef", None)
    if coef is None or coef.ndim != 1:
        raise TypeError(
            f"estimator has {type(params).__name__} with coef "
            f"{getattr(coef, 'shape', None)}, expected one coefficient a column `[d]`: of others "
            "take jaxfound.inspect.bootstrap.intervals of a quantity of your own."
        )
    return linear.Params(coef, params.intercept)


def _likelihood(estimator):
    """What computes the errors, the params and the config of a fitted estimator."""
    if isinstance(estimator, LinearRegression) and not estimator.positive:
        intercept: Any = np.asarray(estimator.intercept_)
        params = linear.Params(estimator.coef_.T, intercept)
        config = linear.Config(fit_intercept=estimator.fit_intercept)
        return uncertainty.least_squares, params, config
    if isinstance(estimator, LogisticRegression):
        if not np.isinf(estimator._penalty()[0]):
            raise ValueError(
                f"C is {estimator.C}, expected numpy.inf: a penalty makes estimates biased and "
                "their intervals too short."
            )
        params = logistic.Params(estimator.coef_[0], estimator.intercept_[0])
        config = logistic.Config(
            n_classes=len(estimator.classes_), fit_intercept=estimator.fit_intercept
        )
        return uncertainty.maximum_likelihood, params, config
    raise TypeError(
        f"estimator is {estimator!r}, expected a LinearRegression or LogisticRegression: of others "
        "take bootstrap intervals, by n_samples=1000."
    )
