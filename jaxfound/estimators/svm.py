"""SVC and SVR: support vector machines with kernels."""

import warnings
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _ovr_decision_function
from sklearn.utils.validation import check_is_fitted, column_or_1d

from jaxfound._checks import check_choice, check_flag
from jaxfound.estimators._base import Table, bucket
from jaxfound.estimators._kernel_machine import KernelMachine
from jaxfound.estimators._labels import classes_of, encoded
from jaxfound.numerics.pairs import class_pairs

__all__ = ["SVC", "SVR", "class_rows"]


def _has_probability(model):
    if model.probability in (False, "deprecated"):
        raise AttributeError(
            "predict_proba is not available when probability=False: set probability=True, or wrap "
            "the estimator in a CalibratedClassifierCV."
        )
    return True


class SVC(ClassifierMixin, KernelMachine):
    r"""C-support vector classification, one-vs-one.

    $$\min \; \tfrac12 \|f\|^2 + C \sum_i w_i \max(0, 1 - y_i (f(x_i) + b))$$

    Args:
      C: inverse strength of the penalty.
      kernel: "linear", "poly", "rbf", "sigmoid", "precomputed", or a function of two arrays of
        rows that returns their Gram matrix.
      degree: of "poly".
      gamma: of "rbf", "poly" and "sigmoid"; "scale" is 1 / (d var(X)), weighted, "auto" 1 / d.
      coef0: of "poly" and "sigmoid".
      shrinking: accepted for compatibility; blocks of rows are chosen here.
      probability: deprecated by scikit-learn in favour of `CalibratedClassifierCV`; honoured, with
        probabilities that are calibrated by it.
      tol: the gap of the optimality conditions, recomputed at the end.
      cache_size: accepted for compatibility; memory is O(n).
      class_weight: a dictionary from class to weight, or "balanced".
      verbose: accepted for compatibility.
      max_iter: bound on the steps of each pair of classes; -1 for none.
      decision_function_shape: "ovr" scores classes, "ovo" pairs of them.
      break_ties: whether `predict` breaks a tie of votes by the "ovr" scores.
      random_state: accepted for compatibility; nothing here is random.

    Attributes:
      classes_: `[k]`.
      support_, support_vectors_: indices `[s]` and rows `[s d]`, class by class.
      n_support_: `[k]`.
      dual_coef_: `[k-1 s]`.
      intercept_: `[p]` for p pairs of classes.
      coef_: `[p d]`, for a linear kernel.
      fit_status_: 0 if the gap was reached.
      n_iter_: `[p]`.

    Example:
      >>> SVC().fit([[0.0], [1.0]], ["a", "b"]).predict([[0.9]])
      array(['b'], dtype='<U1')
    """

    def __init__(
        self,
        *,
        C: float = 1.0,
        kernel: Any = "rbf",
        degree: int = 3,
        gamma: Any = "scale",
        coef0: float = 0.0,
        shrinking: bool = True,
        probability: Any = "deprecated",
        tol: float = 1e-3,
        cache_size: float = 200,
        class_weight: Any = None,
        verbose: bool = False,
        max_iter: int = -1,
        decision_function_shape: str = "ovr",
        break_ties: bool = False,
        random_state: Any = None,
    ):
        self.C = C
        self.kernel = kernel
        self.degree = degree
        self.gamma = gamma
        self.coef0 = coef0
        self.shrinking = shrinking
        self.probability = probability
        self.tol = tol
        self.cache_size = cache_size
        self.class_weight = class_weight
        self.verbose = verbose
        self.max_iter = max_iter
        self.decision_function_shape = decision_function_shape
        self.break_ties = break_ties
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "SVC":
        """Fits to `X` `[n d]` and labels `y` `[n]` of any sortable kind.

        Raises:
          ValueError: for NaN, infinity, wrong shapes, fewer than two classes (also among the rows
            of positive weight), weights that are all zero, or settings out of range.
        """
        self._settings()  # before the data: what is wrong with them needs no fit
        check_choice("decision_function_shape", self.decision_function_shape, ("ovo", "ovr"))
        check_flag("break_ties", self.break_ties)
        table = self._encoded(X, y, sample_weight)
        k = len(self.classes_)
        rows = class_rows(_largest_class(table, k), k, table.x.shape)
        hyper, config = self._settings(n_classes=k, class_rows=rows)
        found = self._fit_machine(table, hyper, config)
        self._set_machine(found, table)
        self._calibrate(X, y, sample_weight)
        return self

    def decision_function(self, X: Any) -> Any:
        """Decisions `[n]` for the second of two classes, or `[n k]`; `[n p]` for "ovo"."""
        scores = self._scores_of_pairs(X)
        if len(self.classes_) == 2:
            return scores[:, 0]
        if self.decision_function_shape == "ovo":
            return -scores
        host = -np.asarray(scores)
        return self._give_labels(
            _ovr_decision_function(host < 0, -host, len(self.classes_)).astype(host.dtype), X
        )

    def predict(self, X: Any) -> Any:
        """The labels `[n]` with most votes, the first of them at a tie unless it is broken."""
        check_is_fitted(self)
        ovo = self.decision_function_shape == "ovo"
        if self.break_ties and ovo:
            raise ValueError("break_ties must be False when decision_function_shape is 'ovo'")
        if self.break_ties and len(self.classes_) > 2:
            index = np.asarray(self.decision_function(X)).argmax(1)
        else:
            scores = np.asarray(self._scores_of_pairs(X))
            index = _votes(scores, len(self.classes_)).argmax(1)
        labels = self.classes_[index]
        return self._give_labels(labels, X) if labels.dtype.kind in "biuf" else labels

    @available_if(_has_probability)
    def predict_proba(self, X: Any) -> Any:
        """Calibrated probabilities `[n k]`; they may disagree with `predict` near a tie."""
        check_is_fitted(self)
        if self._calibrated is None:
            raise NotFittedError(
                "predict_proba is not available when fitted with probability=False: fit again."
            )
        return self._calibrated.predict_proba(X)

    @available_if(_has_probability)
    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of the probabilities `[n k]`."""
        return np.log(self.predict_proba(X))

    @property
    def probA_(self) -> np.ndarray:
        return self._deprecated_empty("probA_")

    @property
    def probB_(self) -> np.ndarray:
        return self._deprecated_empty("probB_")

    def _deprecated_empty(self, name):
        message = f"Attribute `{name}` was deprecated in scikit-learn 1.9; it is empty here."
        warnings.warn(message, FutureWarning, stacklevel=3)
        return np.empty(0)

    def _encoded(self, X, y, sample_weight):
        """The table with class indices, its weights times those of the classes."""
        table = self._rows(X, y, sample_weight)
        labels = np.asarray(table.y)
        labels = labels if labels.ndim == 1 else column_or_1d(labels, warn=True)
        table = table._replace(y=labels)
        weight = np.ones(len(labels), table.dtype) if table.weight is None else table.weight
        _check_classes(labels, weight)
        self.classes_ = classes_of(table)
        table, self.class_weight_ = encoded(table, self.classes_, self.class_weight)
        return table

    def _set_machine(self, found, table):
        k, beta = len(self.classes_), found.beta
        used = np.flatnonzero((beta != 0).any(0))
        order = used[np.argsort(table.y[used], kind="stable")]
        self._keep_support(table, order)
        self._n_support = np.bincount(table.y[order], minlength=k).astype(np.int32)
        self._dual_coef_ = np.zeros((k - 1, len(order)), beta.dtype)
        for (rows, columns), own in zip(self._places(), -beta[:, order], strict=True):
            self._dual_coef_[rows, columns] = own[columns]
        self._intercept_ = -found.intercept
        binary = k == 2
        self.dual_coef_ = -self._dual_coef_ if binary else self._dual_coef_
        self.intercept_ = -self._intercept_ if binary else self._intercept_.copy()
        self.n_iter_ = found.n_iter

    def _places(self):
        """Where the duals of each pair lie in `dual_coef_`: a class has no row for itself."""
        owner = np.repeat(np.arange(len(self.classes_)), self._n_support)
        for i, j in class_pairs(len(self.classes_)):
            columns = np.flatnonzero((owner == i) | (owner == j))
            yield np.where(owner[columns] == i, j - 1, i), columns

    def _duals(self):
        pairs = list(self._places())
        duals = np.zeros((len(pairs), self._dual_coef_.shape[1]), self._dual_coef_.dtype)
        for own, (rows, columns) in zip(duals, pairs, strict=True):
            own[columns] = -self._dual_coef_[rows, columns]
        return duals

    def _sign(self):
        return 1.0 if len(self.classes_) == 2 else -1.0

    def _calibrate(self, X, y, sample_weight):
        self._calibrated = None
        if isinstance(self.probability, str) and self.probability == "deprecated":
            return
        warnings.warn(
            "The `probability` parameter was deprecated in scikit-learn 1.9 and will be removed "
            "in version 1.11. Use `CalibratedClassifierCV(SVC(), ensemble=False)` instead of "
            "`SVC(probability=True)`.",
            FutureWarning,
            stacklevel=3,
        )
        if self.probability:
            least = np.unique(np.asarray(y), return_counts=True)[1].min()
            plain: Any = clone(self)
            plain.set_params(probability="deprecated")
            folds = int(np.clip(least, 2, 5))
            how: dict[str, Any] = {"ensemble": False, "cv": folds}
            calibrated = CalibratedClassifierCV(plain, **how)
            self._calibrated = calibrated.fit(X, y, sample_weight=sample_weight)


class SVR(RegressorMixin, KernelMachine):
    r"""Epsilon-support vector regression.

    $$\min \; \tfrac12 \|f\|^2 + C \sum_i w_i \max(0, |y_i - f(x_i) - b| - \epsilon)$$

    Args:
      kernel, degree, gamma, coef0, tol, C, shrinking, cache_size, verbose, max_iter: as for `SVC`.
      epsilon: half the width of the tube in which errors cost nothing.

    Attributes:
      support_, support_vectors_: indices `[s]` and rows `[s d]`.
      n_support_: `[1]`.
      dual_coef_: `[1 s]`.
      intercept_: `[1]`.
      coef_: `[1 d]`, for a linear kernel.
      fit_status_: 0 if the gap was reached.
      n_iter_: the number of steps.

    Example:
      >>> SVR(kernel="linear", C=100.0).fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0]).coef_.shape
      (1, 1)
    """

    def __init__(
        self,
        *,
        kernel: Any = "rbf",
        degree: int = 3,
        gamma: Any = "scale",
        coef0: float = 0.0,
        tol: float = 1e-3,
        C: float = 1.0,
        epsilon: float = 0.1,
        shrinking: bool = True,
        cache_size: float = 200,
        verbose: bool = False,
        max_iter: int = -1,
    ):
        self.kernel = kernel
        self.degree = degree
        self.gamma = gamma
        self.coef0 = coef0
        self.tol = tol
        self.C = C
        self.epsilon = epsilon
        self.shrinking = shrinking
        self.cache_size = cache_size
        self.verbose = verbose
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "SVR":
        """Fits to `X` `[n d]` and targets `y` `[n]`.

        Raises:
          ValueError: for NaN, infinity, wrong shapes, weights that are all zero, or settings out
            of range.
        """
        self._settings()  # before the data: what is wrong with them needs no fit
        table = self._rows(X, y, sample_weight, y_numeric=True)
        table = table._replace(y=column_or_1d(np.asarray(table.y), warn=True))
        found = self._fit_machine(table, *self._settings(task="regression"))
        self._keep_support(table, np.flatnonzero(found.beta[0]))
        self._n_support = np.array([len(self.support_)], np.int32)
        self.dual_coef_ = found.beta[:, self.support_]
        self._dual_coef_, self.intercept_ = self.dual_coef_, found.intercept
        self._intercept_ = -found.intercept
        self.n_iter_ = int(found.n_iter[0])
        return self

    def predict(self, X: Any) -> Any:
        """The predictions `[n]`."""
        return self._scores_of_pairs(X)[:, 0]

    def _duals(self):
        return self._dual_coef_

    def _sign(self):
        return 1.0


def _votes(scores, k):
    """How many pairs each class wins `[n k]`; zero is a vote for the second."""
    wins = np.zeros((len(scores), k), np.int32)
    for (i, j), own in zip(class_pairs(k), scores.T, strict=True):
        wins[:, j] += own >= 0
        wins[:, i] += own < 0
    return wins


def class_rows(largest: int, k: int, shape: tuple[int, int]) -> int | None:
    """How many rows to cut out for a class, or none where a pair is most of the data."""
    most = bucket(largest)
    return None if k == 2 or 2 * most >= bucket(*shape) else most


def _largest_class(table: Table, k: int) -> int:
    present = table.y if table.weight is None else table.y[np.asarray(table.weight) > 0]
    return int(np.bincount(present, minlength=k).max())


def _check_classes(labels, weight):
    known = np.unique(labels)
    if len(known) < 2:
        raise ValueError(
            "y has one class where two are needed. The number of classes has to be greater than "
            f"one; got {len(known)} class: {known[:1]}."
        )
    if len(np.unique(labels[weight > 0])) < 2:
        raise ValueError(
            "Invalid input - all samples with positive weights belong to the same class: two "
            "classes are needed."
        )
