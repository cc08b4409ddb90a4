"""What SVC and SVR share: kernels from settings, and fitted machines as arrays of support rows."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_array, check_is_fitted

from jaxfound._checks import check_choice, check_number, check_whole
from jaxfound.estimators._base import (
    JaxEstimator,
    Table,
    bucket,
    give_back,
    placed,
    warn_unconverged,
)
from jaxfound.estimators._scope import compute_scope
from jaxfound.models import svm
from jaxfound.numerics.kernels import Scales

__all__ = ["Fitted", "KernelMachine"]

_KERNELS = ("linear", "poly", "rbf", "sigmoid", "precomputed")
_NO_BOX = 1e10  # C where none is asked for: the slack costs more than any margin is worth


class Fitted(NamedTuple):
    """A fit on the host, without the rows that pad it."""

    beta: np.ndarray  # [p n], positive for the second class of a pair
    intercept: np.ndarray  # [p]
    n_iter: np.ndarray  # [p]


class KernelMachine(JaxEstimator):
    C: float
    kernel: Any
    degree: float
    gamma: Any
    coef0: float
    tol: float
    max_iter: int
    support_: np.ndarray
    support_vectors_: np.ndarray
    dual_coef_: np.ndarray
    _dual_coef_: np.ndarray  # as LIBSVM signs it; what predictions are made from
    _intercept_: np.ndarray
    _n_support: np.ndarray
    _gamma: float

    @property
    def n_support_(self) -> np.ndarray:
        """The number of support rows of each class `[k]`, or of all `[1]`."""
        check_is_fitted(self)
        return self._n_support.astype(np.int32)

    @property
    def coef_(self) -> np.ndarray:
        """The weights `[p d]` of the features, for a linear kernel only; read-only."""
        if self.kernel != "linear":
            raise AttributeError("coef_ is only available when using a linear kernel")
        check_is_fitted(self)
        coef = self._sign() * (self._duals() @ self.support_vectors_)
        coef.flags.writeable = False
        return coef

    def _sign(self) -> float:
        """Of `coef_` and `intercept_`: 1 if positive decisions are for the second class."""
        raise NotImplementedError

    def _duals(self) -> np.ndarray:
        """The duals of the support rows `[p s]`, positive for the second class of a pair."""
        raise NotImplementedError

    def _scores_of_pairs(self, X: Any) -> Any:
        """The decisions `[n p]`, positive for the second class of a pair."""
        check_is_fitted(self)
        if sparse.issparse(X):
            raise ValueError("X is sparse, expected a dense array: take X.toarray().")
        if self._n_support.sum() != len(self.support_):
            name = type(self).__name__
            raise ValueError(f"The internal representation of {name} was altered: fit it again.")
        if not callable(self.kernel):
            return self._apply(_decision, self._params(), X)
        gram = _as_gram(self.kernel(X, self._fitted_rows))
        if gram.shape[1] != self.shape_fit_[0]:
            raise ValueError(
                f"X.shape[1] = {gram.shape[1]} should be equal to {self.shape_fit_[0]}, the "
                "number of samples at training time"
            )
        with compute_scope(gram.dtype):
            return np.asarray(_decision(self._params(), jnp.asarray(gram)))

    def _params(self) -> svm.Params:
        duals = self._duals()
        given = self.kernel == "precomputed" or callable(self.kernel)
        if given:
            rows = np.zeros((self.shape_fit_[0], 1), duals.dtype)
            duals, short = np.zeros((len(duals), len(rows)), duals.dtype), duals
            duals[:, self.support_] = short
        else:
            rows = self.support_vectors_
        # Far from zero float32 has no digits left for distances.
        centred = self.kernel == "rbf" and len(rows)
        shift = rows.mean(0) if centred else np.zeros(rows.shape[1], rows.dtype)
        padding = 0 if given else bucket(len(rows)) - len(rows)
        gamma, coef0 = (np.asarray(s, duals.dtype) for s in (self._gamma, self.coef0))
        fields: Any = (
            np.pad(duals, ((0, 0), (0, padding))),
            -self._intercept_.astype(duals.dtype),
            np.pad(rows - shift, ((0, padding), (0, 0))),
            shift,
            Scales._make((gamma, coef0)),
            svm.Config("precomputed" if given else self.kernel, self.degree),
        )
        return svm.Params._make(fields)

    def _rows(self, X: Any, y: Any, sample_weight: Any, **checks: Any) -> Table:
        """The table to fit on; a kernel given as a function of two arrays is evaluated here."""
        if sparse.issparse(X) and self.kernel == "precomputed":
            raise TypeError("Sparse precomputed kernels are not supported: take X.toarray().")
        if callable(self.kernel):
            self._fitted_rows = X
            X = _as_gram(self.kernel(X, X))
        # LIBSVM leaves rows of negative weight out.
        if sample_weight is not None:
            sample_weight = np.maximum(np.asarray(sample_weight, np.float64), 0)
            if sample_weight.size and not sample_weight.any():
                raise ValueError(
                    "Invalid input - all samples have zero or negative weights: the sum of the "
                    "weights is zero, give at least one row a positive one."
                )
        table = self._table(X, y, sample_weight, **checks)
        if callable(self.kernel):
            del self.n_features_in_
        if self._is_given() and table.x.shape[0] != table.x.shape[1]:
            raise ValueError(
                "Precomputed matrix must be a square matrix. Input is a "
                f"{table.x.shape[0]}x{table.x.shape[1]} matrix."
            )
        return table

    def _is_given(self) -> bool:
        return callable(self.kernel) or self.kernel == "precomputed"

    def _settings(self, **task: Any) -> tuple[svm.Hyper, svm.Config]:
        kernel = self.kernel
        if not callable(kernel):
            check_choice("kernel", kernel, _KERNELS)
        if isinstance(self.gamma, str):
            check_choice("gamma", self.gamma, ("scale", "auto"))
            gamma = None if self.gamma == "scale" else 1 / self._width()
        else:
            gamma = check_number("gamma", self.gamma, least=0)
        max_iter = check_whole("max_iter", self.max_iter, least=-1)
        hyper = svm.Hyper(
            C=min(check_number("C", self.C, above=0), _NO_BOX),
            gamma=gamma,
            coef0=check_number("coef0", self.coef0),
            epsilon=check_number("epsilon", getattr(self, "epsilon", 0.0), least=0),
            tol=check_number("tol", self.tol, above=0),
        )
        config = svm.Config(
            kernel="precomputed" if self._is_given() else kernel,
            degree=check_number("degree", self.degree, least=0),
            max_iter=None if max_iter == -1 else max_iter,
            **task,
        )
        return hyper._replace(gamma=0.0) if self._is_given() else hyper, config

    def _width(self) -> int:
        return max(1, getattr(self, "n_features_in_", 1))

    def _fit_machine(self, table: Table, hyper: svm.Hyper, config: svm.Config) -> Fitted:
        """Runs the model and leaves the support rows; warns of a gap that is too large."""
        n = table.x.shape[0]
        if self._is_given():
            square = np.pad(np.asarray(table.x), ((0, 0), (0, bucket(n, n) - n)))
            table = table._replace(x=square)
        # float64 beside the data's own dtype: slopes need it at large C.
        with compute_scope(np.dtype(np.float64)):
            fit = partial(svm.fit, hyper=hyper, config=config)
            params, info = jax.tree.map(np.array, fit(*placed(table)))
        beta, intercept = np.atleast_2d(params.dual)[:, :n], np.atleast_1d(params.intercept)
        if config.kernel == "linear":
            intercept = intercept - np.atleast_2d(params.dual) @ params.x @ params.shift
        if not (np.isfinite(beta).all() and np.isfinite([*intercept, info.residual]).all()):
            raise ValueError(
                "The dual coefficients or intercepts are not finite. The input data may contain "
                "large values and need to be preprocessed."
            )
        self._gamma = float(params.scales.gamma)
        self.shape_fit_ = table.x.shape if not self._is_given() else (n, n)
        self.fit_status_ = int(not info.converged)
        warn_unconverged(info.converged, self._advice(info))
        return Fitted(beta, intercept, np.atleast_1d(info.n_iter).astype(np.int32))

    def _advice(self, info):
        reached = f" The gap is {info.residual:.2g} where tol={self.tol:g} was asked for."
        early = (
            f"Solver terminated early (max_iter={self.max_iter}).  Consider pre-processing your "
            "data with StandardScaler or MinMaxScaler."
        )
        return early + reached

    def _keep_support(self, table, support):
        self.support_ = support.astype(np.int32)
        rows = np.asarray(table.x)
        self.support_vectors_ = rows[support, : 0 if self._is_given() else None]

    def _give_labels(self, labels: np.ndarray, X: Any) -> Any:
        return give_back(jnp.asarray(labels), X) if isinstance(X, jax.Array) else labels

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        return tags


def _as_gram(values):
    checks: dict[str, Any] = {"dtype": np.float64}
    return check_array(values, **checks)


_decision = jax.jit(svm.decision)
