"""LogisticRegression: binary and multinomial classification."""

import warnings
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from jaxfound._checks import check_choice, check_flag, check_number, check_whole
from jaxfound.data.sources import Rows
from jaxfound.estimators._base import JaxEstimator, all_or_nothing, warn_unconverged
from jaxfound.estimators._labels import classes_of, encoded
from jaxfound.models import logistic

__all__ = ["LogisticRegression"]

# scikit-learn's names of solvers, each the minimiser of the same objective. Its stochastic and
# coordinate solvers are what `auto` takes, or proximal steps where there is an L1 norm.
_SOLVERS: dict[str, logistic.Solver] = {
    "lbfgs": "auto",
    "newton-cg": "newton",
    "newton-cholesky": "newton",
    "liblinear": "auto",
    "sag": "auto",
    "saga": "auto",
}
_ADVICE = {
    "lbfgs": "lbfgs failed to converge after {n} iterations",
    "newton-cg": "newton-cg failed to converge after {n} iterations",
    "newton-cholesky": "Newton solver did not converge after {n} iterations",
    "liblinear": "Liblinear failed to converge, increase the number of iterations",
    "sag": "The max_iter was reached which means the coef_ did not converge",
    "saga": "The max_iter was reached which means the coef_ did not converge",
}


class LogisticRegression(ClassifierMixin, JaxEstimator):
    r"""Logistic regression with an L2, L1 or elastic-net penalty.

    $$\min \; C \sum_i w_i \ell(y_i, x_i^\top\beta + b)
      + \tfrac{1-\rho}2 \|\beta\|_2^2 + \rho\|\beta\|_1$$

    Args:
      penalty: deprecated by scikit-learn in favour of `l1_ratio` and `C`; honoured.
      C: inverse strength of the penalty; `numpy.inf` for none.
      l1_ratio: $\rho$; other than 0 with "saga", or 1 with "liblinear".
      dual: accepted for compatibility, with "liblinear"; the primal is solved.
      tol: bound on the gradient of the mean loss.
      fit_intercept: whether $b$ is fitted.
      intercept_scaling: with "liblinear", which penalises the intercept: the value of its column.
      class_weight: a dictionary from class to weight, or "balanced".
      random_state: accepted for compatibility; nothing here is random.
      solver: any name of scikit-learn's. "newton-cg" and "newton-cholesky" take Newton steps, the
        others Newton steps on small problems and L-BFGS on large ones; "saga" and "liblinear"
        take accelerated proximal gradient steps where there is an L1 norm.
      max_iter: bound on the iterations.
      verbose: accepted for compatibility.
      warm_start: start from the last solution.
      n_jobs: accepted for compatibility; XLA uses all cores.

    Attributes:
      classes_: `[k]`.
      coef_: `[1 d]` for two classes, else `[k d]`.
      intercept_: `[1]` or `[k]`.
      n_iter_: `[1]`.

    Example:
      >>> LogisticRegression().fit([[0.0], [1.0], [2.0]], ["a", "b", "b"]).predict([[3.0]])
      array(['b'], dtype='<U1')
    """

    def __init__(
        self,
        penalty: Any = "deprecated",
        *,
        C: float = 1.0,
        l1_ratio: float | None = 0.0,
        dual: bool = False,
        tol: float = 1e-4,
        fit_intercept: bool = True,
        intercept_scaling: float = 1,
        class_weight: Any = None,
        random_state: Any = None,
        solver: str = "lbfgs",
        max_iter: int = 100,
        verbose: int = 0,
        warm_start: bool = False,
        n_jobs: int | None = None,
    ):
        self.penalty = penalty
        self.C = C
        self.l1_ratio = l1_ratio
        self.dual = dual
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.random_state = random_state
        self.solver = solver
        self.max_iter = max_iter
        self.verbose = verbose
        self.warm_start = warm_start
        self.n_jobs = n_jobs

    @all_or_nothing
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "LogisticRegression":
        """Fits to `X` `[n d]` and labels `y` `[n]` of any sortable kind, or to a source of both.

        Raises:
          ValueError: for NaN, infinity, wrong shapes, a single class, weights that are negative
            or all zero, or settings out of range or not made for each other.
        """
        C, l1_ratio = self._penalty()
        table, column = self._encoded(X, y, sample_weight)
        hyper = logistic.Hyper(C, l1_ratio, check_number("tol", self.tol, least=0))
        config = self._config(l1_ratio, len(self.classes_), column)
        fit = partial(logistic.fit, hyper=hyper, start=self._start(table), config=config)
        params, info = self._compute(fit, table)
        self._set_params_found(params, column)
        self.n_iter_ = np.atleast_1d(np.asarray(info.n_iter, np.int32))
        warn_unconverged(
            info.converged,
            _ADVICE[self.solver].format(n=self.n_iter_[0])
            + ". Increase the number of iterations. Or raise tol, scale the features, or lower C.",
        )
        return self

    def _config(self, l1_ratio, n_classes, column):
        return logistic.Config(
            solver="proximal" if l1_ratio else _SOLVERS[self.solver],
            n_classes=n_classes,
            fit_intercept=check_flag("fit_intercept", self.fit_intercept) and column is None,
            max_iter=check_whole("max_iter", self.max_iter, least=0),
        )

    def decision_function(self, X: Any) -> Any:
        """Log odds `[n]` of the second class, or scores `[n k]`."""
        check_is_fitted(self)
        params = logistic.Params(self.coef_.T, self.intercept_)
        scores = self._apply(_decision, params, X, linear=True)
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: Any) -> Any:
        """Probabilities `[n k]`, in the order of `classes_`."""
        return self._probabilities(_proba, X)

    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of the probabilities `[n k]`."""
        return self._probabilities(_log_proba, X)

    def predict(self, X: Any) -> Any:
        """The most probable labels `[n]`."""
        scores = self.decision_function(X)
        index = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)
        if isinstance(X, jax.Array) and self.classes_.dtype.kind in "biuf":
            return jnp.asarray(self.classes_)[index]
        return self.classes_[np.asarray(index)]

    def _probabilities(self, function, X):
        check_is_fitted(self)
        return self._apply(function, logistic.Params(self.coef_.T, self.intercept_), X)

    def _penalty(self):
        """C and the share of the L1 norm, from scikit-learn's two ways to ask for them."""
        solver = check_choice("solver", self.solver, _SOLVERS)
        C = check_number("C", self.C, above=0)
        kind = self.penalty
        if isinstance(kind, str) and kind == "deprecated":
            kind = {0: "l2", None: "l2", 1: "l1"}.get(self.l1_ratio, "elasticnet")
            kind = None if np.inf == C else kind
        else:
            check_choice("penalty", "none" if kind is None else kind, _PENALTIES)
            _warn_of_penalty(kind, C, self.l1_ratio)
        _check_together(solver, kind, self.dual)
        if kind == "elasticnet":
            if self.l1_ratio is None:
                raise ValueError("l1_ratio is None, expected a number for penalty='elasticnet'.")
            return C, check_number("l1_ratio", self.l1_ratio, least=0, most=1)
        return (np.inf if kind is None else C), float(kind == "l1")

    def _encoded(self, X, y, sample_weight):
        """The table with class indices and class weights, and the intercept column if any."""
        table = self._table(X, y, sample_weight, streams=True)
        if self.solver == "liblinear" and isinstance(table.x, Rows):
            raise ValueError(
                "solver is 'liblinear', expected another for a source: that one penalises the "
                "intercept."
            )
        self.classes_ = classes_of(table)
        self._check_classes(table)
        table, _ = encoded(table, self.classes_, self.class_weight)
        if self.solver != "liblinear" or not self.fit_intercept:
            return table, None
        column = check_number("intercept_scaling", self.intercept_scaling, above=0)
        ones = np.full((table.x.shape[0], 1), column, table.x.dtype)
        return table._replace(x=np.hstack([np.asarray(table.x), ones])), column

    def _check_classes(self, table):
        if len(self.classes_) < 2:
            raise ValueError(
                "y has one class where two are needed. This solver needs samples of at least 2 "
                "classes in the data, but the data contains only one class: "
                f"{self.classes_[0]!r}."
            )
        if self.solver == "liblinear" and len(self.classes_) > 2:
            raise ValueError(
                "The 'liblinear' solver does not support multiclass classification (n_classes >= "
                "3): take another solver, or wrap the estimator in a OneVsRestClassifier."
            )
        if self.solver == "liblinear" and np.max(table.x) > _LARGEST:
            raise ValueError(
                "Using the 'liblinear' solver while X contains a maximum value > 1e30 results in "
                "a frozen fit. Please choose another solver or rescale the input X."
            )

    def _start(self, table):
        coef = getattr(self, "coef_", None) if self.warm_start else None
        scores = 1 if len(self.classes_) == 2 else len(self.classes_)
        if coef is None or coef.shape != (scores, table.x.shape[1]):
            return None
        start = logistic.Params(coef.T.astype(table.dtype), self.intercept_.astype(table.dtype))
        return jax.tree.map(lambda p: p[..., 0], start) if scores == 1 else start

    def _set_params_found(self, params, column):
        coef, intercept = params
        self.coef_ = coef[None] if coef.ndim == 1 else coef.T
        self.intercept_ = intercept[None] if intercept.ndim == 0 else intercept
        if column is not None:
            self.intercept_ = self.coef_[:, -1] * column
            self.coef_ = self.coef_[:, :-1]


_PENALTIES = ("l1", "l2", "elasticnet", "none")
_LARGEST = 1e30


def _warn_of_penalty(kind, C, l1_ratio):
    warnings.warn(
        "'penalty' was deprecated in scikit-learn 1.8. Use l1_ratio=0 instead of penalty='l2', "
        "l1_ratio=1 instead of 'l1', a number between instead of 'elasticnet', and C=np.inf "
        "instead of None.",
        FutureWarning,
        stacklevel=4,
    )
    if kind is None and C != 1.0:
        message = "Setting penalty=None will ignore the C and l1_ratio parameters."
        warnings.warn(message, stacklevel=4)
    if kind != "elasticnet" and l1_ratio is not None and 0 < l1_ratio < 1:
        message = "l1_ratio parameter is only used when penalty is 'elasticnet'. Got (penalty={})"
        warnings.warn(message.format(kind), stacklevel=4)
    if (kind == "l2" and l1_ratio != 0) or (kind == "l1" and l1_ratio != 1):
        warnings.warn(
            f"Inconsistent values: penalty={kind} with l1_ratio={l1_ratio}. Use l1_ratio only.",
            stacklevel=4,
        )


def _check_together(solver, kind, dual):
    if solver not in ("liblinear", "saga") and kind not in ("l2", None):
        raise ValueError(
            f"Solver {solver} supports only 'l2' or None penalties, got {kind} penalty: "
            "take solver='saga'."
        )
    if solver != "liblinear" and dual:
        raise ValueError(f"Solver {solver} supports only dual=False, got dual={dual}.")
    if kind == "elasticnet" and solver != "saga":
        raise ValueError(f"Only 'saga' solver supports elasticnet penalty, got solver={solver}.")
    if solver == "liblinear" and kind is None:
        raise ValueError(
            "C=np.inf as well as penalty=None is not supported for the liblinear solver: "
            "take solver='lbfgs'."
        )


_decision = jax.jit(logistic.decision)


@jax.jit
def _proba(params, x):
    return logistic.predict_proba(_binary_as_vector(params), x)


@jax.jit
def _log_proba(params, x):
    eta = logistic.decision(_binary_as_vector(params), x)
    if eta.ndim == 2:
        return jax.nn.log_softmax(eta)
    return jnp.stack([jax.nn.log_sigmoid(-eta), jax.nn.log_sigmoid(eta)], axis=1)


def _binary_as_vector(params):
    two_classes = params.coef.shape[1] == 1
    return jax.tree.map(lambda p: p[..., 0], params) if two_classes else params
