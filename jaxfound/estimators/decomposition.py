"""PCA, whole and in batches."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.utils import check_random_state, gen_batches

from jaxfound._checks import check_choice, check_flag, check_number, check_whole
from jaxfound.data.sources import Rows
from jaxfound.estimators._base import (
    GRAM_COLUMNS,
    Table,
    all_or_nothing,
    give_back,
    placed,
    warn_unconverged,
)
from jaxfound.estimators._principal import PrincipalComponents
from jaxfound.estimators._scope import compute_scope
from jaxfound.models import incremental_pca, pca
from jaxfound.numerics.evidence import most_likely_dimension

__all__ = ["PCA", "IncrementalPCA"]

_SOLVERS = ("auto", "full", "covariance_eigh", "arpack", "randomized", "gradient")
_TRUNCATED = ("arpack", "randomized", "gradient")  # find only as many components as asked for
_NORMALIZERS = ("auto", "QR", "LU", "none")
_WIDEST = 4096  # columns up to which "arpack" may form a covariance matrix


class PCA(PrincipalComponents):
    r"""Principal component analysis: the directions that keep most of the variance.

    Weighted, and differentiable as `models.pca.fit`. Of "auto", the scatter of one pass over the
    data is used where it keeps the digits, and an orthogonal factor of the rows where not.

    Args:
      n_components: an integer; a fraction of the variance to keep, between 0 and 1; "mle" for the
        most likely number by Minka's evidence; None for all, min(n, d).
      copy: accepted for compatibility; the data is never changed.
      whiten: divide scores by their standard deviations, unless those are only rounding.
      svd_solver: any of scikit-learn's, or "gradient" (descent on the reconstruction error).
        "arpack" takes eigenvectors of the covariance matrix here.
      tol: of "arpack" for very wide data, and of "gradient"; 0 is rounding.
      iterated_power: of "randomized", the number of powers; "auto" goes on until converged.
      n_oversamples: of "randomized", extra random vectors.
      power_iteration_normalizer: accepted for compatibility; it is always QR.
      random_state: of "randomized" and "gradient", where they start.

    Attributes:
      components_: `[k d]`; of each row, the entry that is largest in size is positive.
      explained_variance_, explained_variance_ratio_, singular_values_: `[k]`, descending.
      mean_: `[d]`.
      n_components_: k.
      n_samples_: rows, or the sum of weights.
      noise_variance_: mean variance of the directions left out.

    Example:
      >>> PCA(n_components=1).fit_transform([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]).round(3)
      array([[-1.414],
             [ 0.   ],
             [ 1.414]])
    """

    def __init__(
        self,
        n_components: Any = None,
        *,
        copy: bool = True,
        whiten: bool = False,
        svd_solver: str = "auto",
        tol: float = 0.0,
        iterated_power: Any = "auto",
        n_oversamples: int = 10,
        power_iteration_normalizer: str = "auto",
        random_state: Any = None,
    ):
        self.n_components = n_components
        self.copy = copy
        self.whiten = whiten
        self.svd_solver = svd_solver
        self.tol = tol
        self.iterated_power = iterated_power
        self.n_oversamples = n_oversamples
        self.power_iteration_normalizer = power_iteration_normalizer
        self.random_state = random_state

    @all_or_nothing
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "PCA":
        """Fits to `X` `[n d]`, or to a source; `y` is ignored.

        Raises:
          ValueError: for NaN, infinity, wrong shapes, settings out of range, fewer than two
            rows, or weights that are negative or sum to at most one.
        """
        del y
        self._check_settings()
        adds_up = isinstance(X, np.ndarray) and X.ndim == 2 and self._adds_up(*X.shape)
        sums = GRAM_COLUMNS if adds_up else 0
        table = self._table(X, sample_weight=sample_weight, streams=True, sums=sums)
        n, d = _rows_counted(table), table.x.shape[1]
        solver = _named_solver(self.svd_solver, self.n_components, n, d)
        wanted = _wanted(self.n_components, solver, n, d)
        k = wanted if isinstance(wanted, int) else min(n, d)
        config = self._config(solver, k, n, d)
        if isinstance(table.x, Rows):
            fit = partial(pca.fit, config=_of_source(config))
        else:
            fit = partial(self._fit_model, config=config, dtype=table.dtype)
            table = _with_rows(table, k)
        params, info = self._compute(fit, table)
        if not isinstance(wanted, int):
            params = self._truncated(params, wanted, n)
        self._fit_svd_solver, self.n_samples_ = solver, n
        self._set_params_found(params)
        warn_unconverged(
            info.converged,
            f"svd_solver={solver!r} did not converge in {int(info.n_iter)} iterations (residual "
            f"{float(info.residual):.1e}): raise iterated_power or tol, or take 'full'.",
        )
        return self

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """`fit(X).transform(X)`."""
        return self.fit(X, y, sample_weight).transform(X)

    def _adds_up(self, n, d):
        """Whether all that is read of the rows are the sums of a covariance."""
        return _named_solver(self.svd_solver, self.n_components, n, d) == "covariance_eigh"

    def _check_settings(self):
        check_flag("whiten", self.whiten)
        check_choice("svd_solver", self.svd_solver, _SOLVERS)
        check_number("tol", self.tol, least=0)
        check_whole("n_oversamples", self.n_oversamples, least=1)
        check_choice("power_iteration_normalizer", self.power_iteration_normalizer, _NORMALIZERS)
        if self.iterated_power != "auto":
            check_whole("iterated_power", self.iterated_power, least=0)
        if not (self.n_components is None or self.n_components == "mle"):
            check_number("n_components", self.n_components, least=0)

    def _config(self, solver, k, n, d):
        if self.svd_solver == "auto" and solver != "randomized":
            model: pca.Solver = "full" if n < d else "auto"
        elif solver == "arpack":
            model = "covariance_eigh" if d <= _WIDEST else "randomized"
        else:
            model = solver
        powers = None if self.iterated_power == "auto" else self.iterated_power
        powers = powers if solver == "randomized" else None
        return pca.Config(k, model, bool(self.whiten), self.n_oversamples, powers)

    def _fit_model(self, x, y, weight, *, config, dtype):
        del y
        # The error of a variance is of second order in the residual.
        tol = float(np.finfo(dtype).eps) ** (0.9 if self.svd_solver == "arpack" else 0.6)
        hyper = pca.Hyper(tol=self.tol or tol)
        seed = 0 if self.random_state is None else _seed(self.random_state)
        return pca.fit(x, weight, hyper, jax.random.key(seed), config=config)

    def _truncated(self, params, wanted, n):
        with compute_scope(np.dtype(np.float64)):
            variance = jnp.asarray(params.variance, np.float64)
            if wanted == "mle":
                k = int(most_likely_dimension(variance, n))
            else:
                share = jnp.cumsum(variance) / variance.sum()
                k = int(jnp.searchsorted(share, wanted, side="right")) + 1
        with compute_scope(np.dtype(params.mean.dtype)):
            return give_back(pca.truncate(params, k), params.mean)


class IncrementalPCA(PrincipalComponents):
    r"""PCA of data that comes in batches, equal to `PCA(svd_solver="full")` of all of it.

    A triangular factor of all rows seen is kept, `[d d]`, so that nothing is lost between batches.

    Args:
      n_components: an integer; None for all, min(n, d).
      whiten: divide scores by their standard deviations, unless those are only rounding.
      copy: accepted for compatibility; the data is never changed.
      batch_size: rows that `fit` takes at a time; five times the number of features if None.

    Attributes:
      components_, explained_variance_, explained_variance_ratio_, singular_values_, mean_,
      n_components_, noise_variance_: as of `PCA`.
      n_samples_seen_: rows, or the sum of weights.
      var_: `[d]`, the variance of each feature, divided by n.
      batch_size_: rows that `fit` took at a time.

    Example:
      >>> model = IncrementalPCA(n_components=1).partial_fit([[0.0, 0.0], [1.0, 1.0]])
      >>> model.partial_fit([[2.0, 2.0]]).explained_variance_
      array([2.])
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        whiten: bool = False,
        copy: bool = True,
        batch_size: int | None = None,
    ):
        self.n_components = n_components
        self.whiten = whiten
        self.copy = copy
        self.batch_size = batch_size

    def fit(self, X: Any, y: Any = None) -> "IncrementalPCA":
        """Fits to `X` `[n d]` batch by batch, forgetting earlier data; `y` is ignored."""
        del y
        self.__dict__.pop("_state", None)
        X = self._table(X).x
        size = 5 * X.shape[1] if self.batch_size is None else self.batch_size
        self.batch_size_ = check_whole("batch_size", size, least=1)
        for batch in gen_batches(len(X), self.batch_size_):
            self._add(Table(X[batch], None, None, np.dtype(X.dtype)))
        return self._finish()

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "IncrementalPCA":
        """Adds a batch `X` `[n d]`; `y` is ignored.

        Raises:
          ValueError: for NaN, infinity, wrong shapes, weights that are negative or all zero, or
            fewer rows so far than components.
        """
        del y
        seen = self.__dict__.get("_state")
        self._add(self._table(X, sample_weight=sample_weight, reset=seen is None))
        return self._finish()

    def _add(self, table):
        x_dtype = table.dtype if "_state" not in self.__dict__ else self._state.mean.dtype
        with compute_scope(np.dtype(x_dtype)):
            x, _, weight = placed(table._replace(dtype=np.dtype(x_dtype)))
            before = self.__dict__.get("_state")
            state = incremental_pca.start(x) if before is None else before
            self._state = give_back(incremental_pca.update(state, x, weight), table.x)

    def _finish(self):
        check_flag("whiten", self.whiten)
        weight = float(self._state.weight)
        self.n_samples_seen_ = int(weight) if weight.is_integer() else weight
        most = min(int(weight), self.n_features_in_)
        k = most if self.n_components is None else self.n_components
        if check_whole("n_components", k, least=1) > most:
            raise ValueError(
                f"n_components is {k}, expected at most min(n_samples, n_features) = {most} for "
                f"n_samples = {weight:g} so far: ask for fewer, or begin with a larger batch."
            )
        with compute_scope(np.dtype(self._state.mean.dtype)):
            found = (
                incremental_pca.axes(self._state, k, whiten=bool(self.whiten)),
                incremental_pca.variance(self._state),
            )
            params, self.var_ = give_back(found, self._state.mean)
        self._set_params_found(params)
        return self


def _seed(random_state):
    return check_random_state(random_state).randint(np.iinfo(np.int32).max)


def _rows_counted(table):
    # A weight counts rows, so that the number of components does not depend on how it is given.
    n = table.x.shape[0]
    if isinstance(table.x, Rows):
        n = table.x.amount()
    elif table.weight is not None:
        n = float(table.weight.sum())
    n = int(n) if float(n).is_integer() else n
    if n <= 1:
        raise ValueError(
            f"PCA got n_samples = {n:g}, the sum of weights where there are any; expected more "
            "than 1: a variance needs two rows, and weights count rows."
        )
    return n


def _of_source(config):
    # Whatever can be found without all rows at once is found from the scatter.
    found = config.solver in ("randomized", "covariance_eigh")
    return dataclasses.replace(config, solver="covariance_eigh" if found else config.solver)


def _with_rows(table, k):
    # Rows of weight zero, where weights stand for more rows than there are.
    n = table.x.shape[0]
    if k <= n:
        return table
    xp = jnp if isinstance(table.x, jax.Array) else np
    with compute_scope(table.dtype):
        x = xp.concatenate([table.x, xp.zeros((k - n, table.x.shape[1]), table.x.dtype)])
    return table._replace(x=x, weight=np.concatenate([table.weight, np.zeros(k - n, table.dtype)]))


def _named_solver(solver, n_components, n, d):
    # scikit-learn's rule, so that its users find what they expect.
    if solver != "auto":
        return solver
    if d <= 1000 and n >= 10 * d:
        return "covariance_eigh"
    if max(n, d) <= 500 or n_components in (None, "mle"):
        return "full"
    return "randomized" if 1 <= n_components < 0.8 * min(n, d) else "full"


def _wanted(n_components, solver, n, d):
    """An integer, a fraction of the variance, or "mle"."""
    most = int(min(n, d))
    if n_components is None:
        return most - 1 if solver == "arpack" else most
    if n_components == "mle":
        if solver in _TRUNCATED:
            raise ValueError(
                f"n_components='mle' cannot be a string with svd_solver='{solver}': it needs all "
                "variances; take 'full' or 'covariance_eigh'."
            )
        if n < d:
            raise ValueError(
                "n_components='mle' is only supported if n_samples >= n_features, got "
                f"n_samples={n} and n_features={d}: give a number."
            )
        return "mle"
    least = 1 if solver in _TRUNCATED else 0
    if not least <= n_components <= most:
        raise ValueError(
            f"n_components={n_components} must be between {least} and min(n_samples, n_features)="
            f"{most} with svd_solver={solver!r}"
        )
    if solver == "arpack" and n_components == most:
        raise ValueError(
            f"n_components={n_components} must be strictly less than min(n_samples, n_features)="
            f"{most} with svd_solver={solver!r}"
        )
    if 0 < n_components < 1:
        return float(n_components)
    return check_whole("n_components", n_components, least=0)
