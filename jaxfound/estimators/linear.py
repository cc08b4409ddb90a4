"""Linear regression, three ways: closed form, penalised, and by gradient descent."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.linalg import LinAlgWarning
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from jaxfound._checks import check_choice, check_flag, check_number, check_whole
from jaxfound.data.sources import Rows
from jaxfound.estimators._base import GRAM_COLUMNS, JaxEstimator, all_or_nothing, warn_unconverged
from jaxfound.models import linear, ridge

__all__ = ["GradientDescentRegressor", "LinearRegression", "Ridge"]

# scikit-learn's names of solvers, each the minimiser of the same objective. Its stochastic and
# Krylov solvers are conjugate gradients here; its Cholesky turns to the SVD where it must.
_RIDGE_SOLVERS: dict[str, ridge.Solver] = {
    "auto": "auto",
    "cholesky": "auto",
    "svd": "svd",
    "lsqr": "cg",
    "sparse_cg": "cg",
    "sag": "cg",
    "saga": "cg",
    "lbfgs": "lbfgs",
}
_COUNTED = ("lsqr", "sag", "saga")  # solvers for which scikit-learn reports n_iter_
_FEWEST_DIGITS = 1e-3  # relative error from rounding the data alone that deserves a warning


class _LinearModel(MultiOutputMixin, RegressorMixin, JaxEstimator):
    fit_intercept: bool
    coef_: Any
    intercept_: Any

    def predict(self, X: Any) -> Any:
        """The predictions `[n]` or `[n k]` for `X` `[n d]`."""
        check_is_fitted(self)
        return self._apply(_predict, ridge.Params(self.coef_.T, self.intercept_), X, linear=True)

    def _set_params_found(self, params):
        self.coef_ = params.coef.T
        scalar = params.intercept.ndim == 0 and isinstance(params.intercept, np.ndarray)
        self.intercept_ = params.intercept[()] if scalar else params.intercept
        if not self.fit_intercept:
            self.intercept_ = 0.0


class LinearRegression(_LinearModel):
    r"""Ordinary least squares, $\min \sum_i w_i \|y_i - x_i^\top\beta - b\|^2$.

    Right to the last digits at any conditioning: the Gram matrix is factored and refined with
    residuals in extended precision, and replaced by an orthogonal factor where it loses digits.

    Args:
      fit_intercept: whether $b$ is fitted; zero otherwise.
      copy_X: accepted for compatibility; the data is never changed.
      tol: accepted for compatibility; the solution is exact.
      n_jobs: accepted for compatibility; XLA uses all cores.
      positive: restrict the coefficients to be non-negative.

    Attributes:
      coef_: `[d]`, or `[k d]` for several targets.
      intercept_: a number, or `[k]`.
      rank_: numerical rank of the centred design.
      condition_: estimated condition number of the design with columns of unit norm.

    Example:
      >>> LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]).coef_
      array([2.])
    """

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        copy_X: bool = True,
        tol: float = 1e-6,
        n_jobs: int | None = None,
        positive: bool = False,
    ):
        self.fit_intercept = fit_intercept
        self.copy_X = copy_X
        self.tol = tol
        self.n_jobs = n_jobs
        self.positive = positive

    @all_or_nothing
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "LinearRegression":
        """Fits to `X` `[n d]` and `y` `[n]` or `[n k]`, or to a source of both.

        Raises:
          ValueError: for NaN, infinity, wrong shapes, or weights that are negative or all zero.
        """
        config = ridge.Config(
            fit_intercept=check_flag("fit_intercept", self.fit_intercept),
            positive=check_flag("positive", self.positive),
        )
        checks: dict[str, Any] = {"multi_output": True, "y_numeric": True}
        table = self._table(X, y, sample_weight, streams=True, sums=GRAM_COLUMNS, **checks)
        params, info = self._compute(partial(linear.fit, config=config), table)
        self._set_params_found(params)
        if not self.positive:
            self.rank_, self.condition_ = int(info.rank), float(info.condition)
            _warn_ill_conditioned(info, table)
        warn_unconverged(info.converged, f"LinearRegression did not converge: {info}.")
        return self


class Ridge(_LinearModel):
    r"""Ridge regression, $\min \sum_i w_i \|y_i - x_i^\top\beta - b\|^2 + \alpha\|\beta\|^2$.

    Args:
      alpha: the penalty, a number or one a target `[k]`.
      fit_intercept: whether $b$ is fitted; it is not penalised.
      copy_X: accepted for compatibility; the data is never changed.
      max_iter: bound on the iterations of "lsqr", "sparse_cg", "sag", "saga" and "lbfgs".
      tol: of the same solvers, the factor by which the gradient must shrink.
      solver: any name of scikit-learn's. "auto" and "cholesky" factor the Gram matrix and turn to
        the SVD where that loses digits; "svd" names it; "lsqr", "sparse_cg", "sag" and "saga" run
        conjugate gradients, "lbfgs" L-BFGS.
      positive: restrict the coefficients to be non-negative; with "auto" or "lbfgs".
      random_state: accepted for compatibility; nothing here is random.

    Attributes:
      coef_: `[d]`, or `[k d]` for several targets.
      intercept_: a number, or `[k]`.
      n_iter_: iterations a target for "lsqr", "sag" and "saga"; 1 for "auto", else None.
      solver_: the solver, by scikit-learn's name.

    Example:
      >>> Ridge(alpha=1.0).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]).coef_
      array([1.33333333])
    """

    def __init__(
        self,
        alpha: Any = 1.0,
        *,
        fit_intercept: bool = True,
        copy_X: bool = True,
        max_iter: int | None = None,
        tol: float = 1e-4,
        solver: str = "auto",
        positive: bool = False,
        random_state: Any = None,
    ):
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.copy_X = copy_X
        self.max_iter = max_iter
        self.tol = tol
        self.solver = solver
        self.positive = positive
        self.random_state = random_state

    @all_or_nothing
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "Ridge":
        """Fits to `X` `[n d]` and `y` `[n]` or `[n k]`, or to a source of both.

        Raises:
          ValueError: for NaN, infinity, wrong shapes, weights that are negative or all zero, or
            settings out of range.
        """
        solver = check_choice("solver", self.solver, _RIDGE_SOLVERS)
        if self.positive and solver not in ("auto", "lbfgs"):
            raise ValueError(
                f"solver is {solver!r}, which does not support positive=True; "
                "expected 'auto' or 'lbfgs'."
            )
        closed = solver in ("auto", "cholesky") and np.ndim(self.alpha) == 0
        sums = GRAM_COLUMNS if closed else 0
        checks: dict[str, Any] = {"multi_output": True, "y_numeric": True}
        table = self._table(X, y, sample_weight, streams=True, sums=sums, **checks)
        alpha = _penalties(self.alpha, table)
        fit = _fit_per_target if alpha.ndim else ridge.fit
        hyper = ridge.Hyper(alpha, check_number("tol", self.tol, least=0))
        fit = partial(fit, hyper=hyper, config=self._config(solver, table.x))
        params, info = self._compute(fit, table)
        self._set_params_found(params)
        if self.coef_.ndim == 2 and len(self.coef_) == 1:
            self.coef_ = self.coef_[0]
        self._report(info, solver, table)
        return self

    def _config(self, solver, x):
        max_iter = max(1000, 10 * x.shape[1]) if self.max_iter is None else self.max_iter
        closed = isinstance(x, Rows) and solver != "svd"  # the fewest passes over a source
        return ridge.Config(
            solver="auto" if closed else _RIDGE_SOLVERS[solver],
            fit_intercept=check_flag("fit_intercept", self.fit_intercept),
            positive=check_flag("positive", self.positive),
            max_iter=check_whole("max_iter", max_iter, least=1),
        )

    def _report(self, info, solver, table):
        self.solver_ = "lbfgs" if self.positive else solver
        k = 1 if table.y.ndim == 1 else table.y.shape[1]
        self.n_iter_ = np.broadcast_to(info.n_iter, k).copy() if solver in _COUNTED else None
        if solver == "auto":
            self.n_iter_ = max(1, int(np.max(info.n_iter)))  # one factorisation
        if info.rank is not None:
            _warn_ill_conditioned(info, table)
        warn_unconverged(
            np.all(info.converged),
            f"{self.solver_} solver did not converge after {np.max(info.n_iter)} iterations: "
            "raise max_iter or tol, or scale the features.",
        )


class GradientDescentRegressor(_LinearModel):
    r"""Linear regression by gradient descent on half the mean squared error.

    $$L(\beta, b) = \frac1{2\sum_i w_i} \sum_i w_i (y_i - x_i^\top\beta - b)^2$$

    From zero, every step by `jax.grad`, all steps in one compiled program. Features of very
    different scale want standardising first.

    Args:
      learning_rate: handed to `optimizer`.
      n_iterations: the number of steps.
      optimizer: any optax optimiser: a function of the learning rate such as `optax.adam`, or a
        ready `optax.GradientTransformation`.
      fit_intercept: whether $b$ is fitted; zero otherwise.

    Attributes:
      coef_: `[d]`, or `[k d]` for several targets.
      intercept_: a number, or `[k]`.
      loss_curve_: `[n_iterations]`, the loss before each step.
      n_iter_: the number of steps taken.

    Example:
      >>> model = GradientDescentRegressor(0.1, 500).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
      >>> model.predict([[3.0]]).round(3)
      array([7.])
    """

    def __init__(
        self,
        learning_rate: float = 0.01,
        n_iterations: int = 1000,
        *,
        optimizer: Callable[..., Any] | optax.GradientTransformation = optax.sgd,
        fit_intercept: bool = True,
    ):
        self.learning_rate = learning_rate
        self.n_iterations = n_iterations
        self.optimizer = optimizer
        self.fit_intercept = fit_intercept

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "GradientDescentRegressor":
        """Fits to `X` `[n d]` and `y` `[n]` or `[n k]`.

        Raises:
          ValueError: for NaN, infinity, wrong shapes, weights that are negative or all zero, or
            settings out of range.
        """
        rate = check_number("learning_rate", self.learning_rate, above=0)
        config = self._config()
        table = self._table(X, y, sample_weight, multi_output=True, y_numeric=True)
        hyper = linear.Hyper(learning_rate=rate)
        params, info = self._compute(partial(linear.fit, hyper=hyper, config=config), table)
        self._set_params_found(params)
        self.loss_curve_, self.n_iter_ = info.trajectory, self.n_iterations
        warn_unconverged(
            np.isfinite(info.value),
            f"Gradient descent diverged: lower learning_rate ({rate:g}) or standardise X.",
        )
        return self

    def _config(self):
        return ridge.Config(
            solver="gd",
            fit_intercept=check_flag("fit_intercept", self.fit_intercept),
            max_iter=check_whole("n_iterations", self.n_iterations, least=1),
            optimizer=_factory(self.optimizer),
        )


class _Ready:
    """A ready optimiser in the place of a function of the learning rate."""

    def __init__(self, transformation):
        self.transformation = transformation

    def __call__(self, rate):
        del rate
        return self.transformation

    def __hash__(self):
        return hash(self.transformation)

    def __eq__(self, other):
        return isinstance(other, _Ready) and self.transformation == other.transformation


def _factory(optimizer: Any) -> Any:
    if isinstance(optimizer, optax.GradientTransformation):
        return _Ready(optimizer)
    if not callable(optimizer):
        raise TypeError(
            f"optimizer is {optimizer!r}, expected an optax optimiser such as optax.adam."
        )
    return optimizer


def _penalties(alpha: Any, table: Any) -> Any:
    if np.ndim(alpha) == 0:
        return np.asarray(check_number("alpha", alpha, least=0))
    alpha = np.asarray(alpha, dtype=float).ravel()
    targets = 1 if table.y.ndim == 1 else table.y.shape[1]
    if alpha.size not in (1, targets):
        raise ValueError(
            "Number of targets and number of penalties do not correspond: "
            f"{alpha.size} != {targets}; give alpha as one number, or one a target."
        )
    if alpha.size > 1 and isinstance(table.x, Rows):
        raise ValueError(
            f"alpha has {alpha.size} numbers, expected one for a source: "
            "fit the targets one by one."
        )
    if not (np.isfinite(alpha).all() and (alpha >= 0).all()):
        raise ValueError(f"alpha is {alpha}, expected finite numbers of at least 0.")
    return alpha.reshape(()) if alpha.size == 1 else alpha


def _warn_ill_conditioned(info, table):
    d, rank, condition = table.x.shape[1], int(np.min(info.rank)), float(np.max(info.condition))
    if rank < d:
        warnings.warn(
            f"The design has rank {rank}, less than its {d} columns: the coefficients are those "
            "of minimum norm. Drop columns that others determine, or add a penalty.",
            LinAlgWarning,
            stacklevel=3,
        )
    elif condition * np.finfo(table.dtype).eps > _FEWEST_DIGITS:
        warnings.warn(
            f"The design has condition number {condition:.1e}: rounding the data to {table.dtype} "
            "leaves fewer than 3 digits of the coefficients. Use float64, or scale and decorrelate "
            "the columns.",
            LinAlgWarning,
            stacklevel=3,
        )


@partial(jax.jit, static_argnames="config")
def _fit_per_target(x, y, weight, hyper, *, config):
    def one(target, l2):
        params, info = ridge.fit(x, target, weight, hyper._replace(l2=l2), config=config)
        return params.coef, params.intercept, info

    coef, intercept, info = jax.vmap(one, (1, 0), (1, 0, 0))(y, hyper.l2)
    return ridge.Params(coef, intercept), info


@jax.jit
def _predict(params, x):
    # One intercept may stand for all targets, or be an array of one beside a single target.
    targets = params.coef.shape[1:]
    intercept = params.intercept.reshape(()) if params.intercept.size == 1 else params.intercept
    return ridge.predict(ridge.Params(params.coef, jnp.broadcast_to(intercept, targets)), x)
