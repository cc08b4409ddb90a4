"""StandardScaler: columns of mean zero and variance one."""

import sys
from typing import Any, NamedTuple

import jax
import numpy as np
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from jaxfound import streaming
from jaxfound._checks import check_flag
from jaxfound._config import settings
from jaxfound.data.sources import Rows
from jaxfound.estimators._base import (
    FLOATS,
    JaxEstimator,
    all_or_nothing,
    placed,
)
from jaxfound.estimators._scope import compute_scope
from jaxfound.models import scaling

__all__ = ["StandardScaler"]

_FLOATS = (*FLOATS, np.float16)

_ANY = sys.maxsize  # columns


class StandardScaler(OneToOneFeatureMixin, TransformerMixin, JaxEstimator):
    r"""Centres columns and divides them by their standard deviation, $(x - \bar x) / s$.

    Weighted, one pass over the data, and right in float32 for a small spread about a large mean.
    NaN is a missing value: left out of the statistics, kept by the transforms.

    Args:
      copy: False writes the result of the transforms into a NumPy input of the same dtype.
      with_mean: whether to centre.
      with_std: whether to divide.

    Attributes:
      mean_, var_, scale_: `[d]` in float64; None where not asked for.
      n_samples_seen_: rows (or sum of weights) with a value, one number if equal for all columns.

    Example:
      >>> StandardScaler().fit_transform([[0.0], [2.0]])
      array([[-1.],
             [ 1.]])
    """

    def __init__(self, *, copy: bool = True, with_mean: bool = True, with_std: bool = True):
        self.copy = copy
        self.with_mean = with_mean
        self.with_std = with_std

    @all_or_nothing
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "StandardScaler":
        """Computes the statistics of `X` `[n d]`, or of a source, forgetting earlier ones.

        `y` is ignored.
        """
        self.__dict__.pop("_moments", None)
        return self.partial_fit(X, y, sample_weight)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> "StandardScaler":
        """Adds a batch `X` `[n d]` to the statistics; `y` is ignored.

        Raises:
          ValueError: for infinity, wrong shapes, or weights that are negative or all zero.
        """
        check_flag("with_mean", self.with_mean)
        check_flag("with_std", self.with_std)
        seen = self.__dict__.get("_moments")
        checks = {"reset": seen is None, "ensure_all_finite": "allow-nan", "dtype": _FLOATS}
        table = self._table(X, sample_weight=sample_weight, streams=True, sums=_ANY, **checks)
        source = isinstance(table.x, Rows)
        sums = np.dtype(settings().dtype or np.float64)  # float64 unless the user says otherwise
        with compute_scope(sums):
            if source:
                batch = streaming.fit(scaling.fit, table.x, dtype=sums)
            else:
                x, _, weight = placed(table)
                batch = scaling.fit(x, weight, dtype=sums)
            batch = jax.tree.map(np.array, batch)
        self._moments = batch if seen is None else _merged(seen, batch)
        weighted = table.x.weighted if source else sample_weight is not None
        self._set_statistics(table.dtype, weighted=weighted)
        return self

    def transform(self, X: Any, copy: bool | None = None) -> Any:
        """`X` `[n d]` centred and divided; of a source a source, computed when it is read."""
        return self._map(_divide, X, copy)

    def inverse_transform(self, X: Any, copy: bool | None = None) -> Any:
        """Undoes `transform`."""
        return self._map(_multiply, X, copy)

    def _map(self, function, X, copy):
        check_is_fitted(self)
        if isinstance(X, Rows):
            return X.map(lambda x: self._map(function, x, copy))
        mean = np.zeros(self.n_features_in_) if not self.with_mean else self.mean_
        scale = np.ones(self.n_features_in_) if not self.with_std else self.scale_
        checks = {"ensure_all_finite": "allow-nan", "dtype": _FLOATS}
        out = self._apply(function, _Map(*_split(mean), scale), X, **checks)
        copy = self.copy if copy is None else copy
        if copy or not isinstance(X, np.ndarray) or X.dtype != out.dtype:
            return out
        X[...] = out
        return X

    def _set_statistics(self, dtype, *, weighted):
        _, var, weight, _ = moments = self._moments
        counts = weight if weighted else weight.astype(np.int64)
        self.n_samples_seen_ = counts[0] if (counts == counts[0]).all() else counts
        self.mean_ = moments.mean + moments.rest if self.with_mean or self.with_std else None
        self.var_ = var if self.with_std else None
        self.scale_ = _scale(moments, dtype) if self.with_std else None

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class _Map(NamedTuple):
    mean: Any
    rest: Any  # of the mean, below the rounding of float32
    scale: Any


def _split(mean):
    high = mean.astype(np.float32)
    return high, mean - high


def _merged(a, b):
    with compute_scope(np.dtype(np.float64)):
        return jax.tree.map(np.array, scaling.merge(a, b))


def _scale(moments, dtype):
    # A spread is noise below the rounding of the data, or of float64 sums over so many rows.
    mean, var, weight, _ = (np.asarray(p, np.float64) for p in moments)
    eps = np.finfo(np.float64).eps
    noise = weight * eps * var + (weight * mean * eps) ** 2
    constant = (var <= noise) | (var <= (np.finfo(dtype).eps * mean / 8) ** 2)
    return np.where(constant, 1.0, np.sqrt(var))


@jax.jit
def _divide(params, x):
    return ((x - params.mean[None]) - params.rest[None]) / params.scale[None]


@jax.jit
def _multiply(params, x):
    return (x * params.scale[None] + params.rest[None]) + params.mean[None]
