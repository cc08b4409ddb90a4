"""LinearSVC: linear support vector classification."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from jaxfound._checks import check_choice, check_flag, check_number, check_whole
from jaxfound.estimators._base import JaxEstimator, warn_unconverged
from jaxfound.estimators._labels import classes_of, encoded
from jaxfound.models import linear_svm

__all__ = ["LinearSVC"]


class LinearSVC(ClassifierMixin, JaxEstimator):
    r"""Linear support vector classification, one-vs-rest, with a penalised intercept.

    $$\min \; \tfrac12 \|\beta\|^2 + C \sum_i w_i \max(0, 1 - y_i (x_i^\top\beta + b))^2$$

    Args:
      penalty: "l2", or "l1" with the squared hinge and dual=False.
      loss: "squared_hinge" or "hinge".
      dual: checked as scikit-learn checks it; the fastest solver is taken.
      tol: bound on the gradient of the mean loss, or of the dual for the hinge.
      C: inverse strength of the penalty.
      multi_class: "ovr"; "crammer_singer" is refused.
      fit_intercept: whether $b$ is fitted.
      intercept_scaling: value of the column whose coefficient is the intercept; it is penalised,
        the less so the larger this is.
      class_weight: a dictionary from class to weight, or "balanced".
      verbose: accepted for compatibility.
      random_state: accepted for compatibility; nothing here is random.
      max_iter: bound on the iterations.

    Attributes:
      classes_: `[k]`.
      coef_: `[1 d]` for two classes, else `[k d]`.
      intercept_: `[1]` or `[k]`.
      n_iter_: the number of iterations.

    Example:
      >>> LinearSVC().fit([[0.0], [1.0], [2.0]], ["a", "b", "b"]).predict([[3.0]])
      array(['b'], dtype='<U1')
    """

    def __init__(
        self,
        penalty: str = "l2",
        loss: str = "squared_hinge",
        *,
        dual: Any = "auto",
        tol: float = 1e-4,
        C: float = 1.0,
        multi_class: str = "ovr",
        fit_intercept: bool = True,
        intercept_scaling: float = 1,
        class_weight: Any = None,
        verbose: int = 0,
        random_state: Any = None,
        max_iter: int = 1000,
    ):
        self.penalty = penalty
        self.loss = loss
        self.dual = dual
        self.tol = tol
        self.C = C
        self.multi_class = multi_class
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.verbose = verbose
        self.random_state = random_state
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "LinearSVC":
        """Fits to `X` `[n d]` and labels `y` `[n]` of any sortable kind.

        Raises:
          ValueError: for NaN, infinity, wrong shapes, a single class, weights that are negative
            or all zero, or settings out of range or not made for each other.
        """
        self._check_settings()
        table = self._encoded(X, y, sample_weight)
        hyper, config = self._settings(len(self.classes_))
        fit = partial(linear_svm.fit, hyper=hyper, config=config)
        params, info = self._compute(fit, table)
        self._set_params_found(params)
        self.n_iter_ = int(info.n_iter)
        warn_unconverged(
            info.converged,
            "Liblinear failed to converge, increase the number of iterations. Or raise tol, scale "
            f"the features, or lower C: the gradient is {float(info.residual):.2g}.",
        )
        return self

    def _settings(self, n_classes):
        config = linear_svm.Config(
            loss="hinge" if self.loss == "hinge" else "squared_hinge",
            penalty="l1" if self.penalty == "l1" else "l2",
            n_classes=n_classes,
            fit_intercept=False,  # the column of `_encoded` is one that is penalised
            max_iter=check_whole("max_iter", self.max_iter, least=0),
        )
        return linear_svm.Hyper(check_number("C", self.C, above=0), self.tol), config

    def decision_function(self, X: Any) -> Any:
        """Scores `[n]` for the second of two classes, or `[n k]`."""
        check_is_fitted(self)
        intercept: Any = np.broadcast_to(self.intercept_, len(self.coef_))
        scores = self._apply(_decision, linear_svm.Params(self.coef_.T, intercept), X, linear=True)
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> Any:
        """The labels `[n]` with the largest score."""
        scores = self.decision_function(X)
        index = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)
        if isinstance(X, jax.Array) and self.classes_.dtype.kind in "biuf":
            return jnp.asarray(self.classes_)[index]
        return self.classes_[np.asarray(index)]

    def _check_settings(self):
        check_choice("penalty", self.penalty, ("l1", "l2"))
        check_choice("loss", self.loss, ("hinge", "squared_hinge"))
        check_number("tol", self.tol, least=0)
        check_flag("fit_intercept", self.fit_intercept)
        if self.multi_class != "ovr":
            raise ValueError(
                f"multi_class is {self.multi_class!r}, expected 'ovr', the only way here."
            )
        hinge, l1 = self.loss == "hinge", self.penalty == "l1"
        dual = self.dual if isinstance(self.dual, bool | np.bool_) else None
        if (hinge and (l1 or dual is False)) or (l1 and dual):
            raise ValueError(
                f"Unsupported set of arguments: penalty={self.penalty!r}, loss={self.loss!r}, "
                f"dual={self.dual!r} is not supported, expected the squared hinge with 'l1' and "
                "dual=False, and dual=True with the hinge: take dual='auto'."
            )

    def _encoded(self, X, y, sample_weight):
        """The table with class indices, class weights, and the column of the intercept."""
        table = self._table(X, y, sample_weight)
        self.classes_ = classes_of(table)
        if len(self.classes_) < 2:
            raise ValueError(
                "y has one class where two are needed. This solver needs samples of at least 2 "
                "classes in the data, but the data contains only one class: "
                f"{self.classes_[:1]}."
            )
        table, _ = encoded(table, self.classes_, self.class_weight)
        if not self.fit_intercept:
            return table
        self._column = check_number("intercept_scaling", self.intercept_scaling, above=0)
        if isinstance(table.x, jax.Array):
            sides = ((0, 0), (0, 1))
            return table._replace(x=jnp.pad(table.x, sides, constant_values=self._column))
        ones = np.full((table.x.shape[0], 1), self._column, table.x.dtype)
        return table._replace(x=np.hstack([table.x, ones]))

    def _set_params_found(self, params):
        coef = params.coef[None] if params.coef.ndim == 1 else params.coef.T
        self.coef_, self.intercept_ = coef, 0.0
        if self.fit_intercept:
            self.coef_, self.intercept_ = coef[:, :-1], coef[:, -1] * self._column


_decision = jax.jit(linear_svm.decision)
