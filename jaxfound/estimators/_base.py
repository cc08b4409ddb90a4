"""What every estimator does around a model: validate, cast, pad, compute, give back.

NumPy in gives NumPy out, JAX in gives JAX out on its device. float64 is computed in float64 inside
a local `jax.enable_x64` scope; the global flag is never touched.
"""

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import _check_sample_weight, validate_data

from jaxfound import streaming
from jaxfound._config import settings
from jaxfound.data.sources import Rows, open_rows
from jaxfound.estimators._chunks import laid_out, map_rows, usable
from jaxfound.estimators._scope import compute_scope

__all__ = [
    "FLOATS",
    "GRAM_COLUMNS",
    "JaxEstimator",
    "Table",
    "all_or_nothing",
    "bucket",
    "give_back",
    "placed",
    "warn_unconverged",
]

FLOATS = (np.float64, np.float32)
_PADDED_SIZE = 2**22  # elements up to which a design is padded; larger ones compile for their n
GRAM_COLUMNS = 1024  # up to which sums of chunks, read where they lie, beat a program on a copy
_NO_TARGET = "no target"  # not None, which is what forgetting `y` looks like
_MAPPED_BYTES = 2**28  # of a memory map from which on it is read batch by batch


class Table(NamedTuple):
    """Validated data, still on the host (or where the caller's JAX arrays are), or a source."""

    x: Any
    y: Any
    weight: Any  # None is all ones
    dtype: np.dtype  # to compute in


class JaxEstimator(BaseEstimator):
    """Base of the estimators. `fit` is 15 lines: settings, `_table`, the model, attributes."""

    @classmethod
    @functools.cache
    def _get_param_names(cls):
        # A search copies an estimator often, and scikit-learn would read the signature each time.
        return super()._get_param_names()

    def _table(
        self,
        X: Any,
        y: Any = _NO_TARGET,
        sample_weight: Any = None,
        *,
        reset: bool = True,
        streams: bool = False,
        sums: int = 0,
        **options: Any,
    ) -> Table:
        """Checks the data on the host and says what dtype to compute in.

        With `streams` the fit can read its rows batch by batch: a source stays one, and a large
        memory map becomes one. Of arrays with at most `sums` columns all that the fit needs are
        sums over the rows: a large one becomes a source too, to be read from memory only once.
        """
        large_map = isinstance(X, np.memmap) and X.nbytes > _MAPPED_BYTES
        if isinstance(X, Rows) or (streams and large_map):
            return self._source(X, y, sample_weight, streams)
        checks: dict[str, Any] = {"dtype": FLOATS, "reset": reset, **options}
        if isinstance(X, jax.Array):
            X = self._validated_jax(X, reset, checks.get("ensure_all_finite", True))
            y = None if y is _NO_TARGET else _as_target(y, X.shape[0])
        else:
            chunked = _is_large(X) and X.shape[1] <= sums
            X, y = self._validated_numpy(X, y, checks, lay_out=not chunked)
            if chunked:
                dtype, given = _computed_in(X.dtype), None if y is _NO_TARGET else y
                rows = open_rows(X, given, _weights(sample_weight, X, dtype)).astype(dtype)
                return Table(rows, rows.y, None, dtype)
        dtype = _computed_in(X.dtype)
        if checks.get("y_numeric"):
            y = y.astype(dtype)
        return Table(X, y, _weights(sample_weight, X, dtype), dtype)

    def _compute(self, function: Callable[..., Any], table: Table) -> Any:
        """`function(x, y, weight)` on the device, given back in the data's kind of array.

        To a source the function is fitted out of core: a `partial` of a model's `fit` then.
        """
        with compute_scope(table.dtype):
            if isinstance(table.x, Rows):
                model: Any = function
                return give_back(streaming.fit(model.func, table.x, **model.keywords), None)
            return give_back(function(*placed(table)), table.x)

    def _source(self, X, y, sample_weight, streams):
        name = type(self).__name__
        if not streams:
            raise TypeError(
                f"X is a source of rows, expected an array: {name} needs all rows at once here; "
                "read them into memory, or fit to a part."
            )
        given = y is not _NO_TARGET and y is not None
        if isinstance(X, Rows) and (given or sample_weight is not None):
            raise ValueError(
                "y or sample_weight were given beside a source, expected them inside: open it "
                "with open_rows(..., y=y, weight=sample_weight)."
            )
        if not isinstance(X, Rows):
            X = open_rows(X, y if given else None, sample_weight)
        if y is not _NO_TARGET and X.y is None:
            raise ValueError(
                f"{name} requires y to be passed, but the target y is None: open the source with "
                "open_rows(..., y=y)."
            )
        self.n_features_in_ = X.shape[1]
        dtype = np.dtype(settings().dtype or streaming.float_of(X.dtype))
        return Table(X.astype(dtype), X.y, None, dtype)

    def _validated_numpy(self, X, y, checks, *, lay_out):
        # scikit-learn's rules; whether X is finite is asked here, by all cores.
        options = checks | {"ensure_all_finite": False}
        data: Any = validate_data(self, X, *([] if y is _NO_TARGET else [y]), **options)
        X, y = (data, None) if y is _NO_TARGET else data
        if not lay_out:
            return X, y
        rows, finite = laid_out(X, settings().dtype or X.dtype, len(X))
        if not finite:
            self._refuse_infinite(rows, checks)
        return (X if _is_half(X.dtype) else rows), y

    def _validated_jax(self, X, reset, finite):
        # The same rules as scikit-learn's, without a copy to the host.
        if X.ndim != 2:
            raise ValueError(
                f"X has shape {X.shape}, expected 2D array [n d] instead: reshape your data with "
                "X.reshape(-1, 1) for one feature or X.reshape(1, -1) for one row."
            )
        if not jnp.issubdtype(X.dtype, jnp.floating):
            X = X.astype(jnp.float32)
        if reset:
            self.n_features_in_ = X.shape[1]
        elif X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input."
            )
        if finite is True and not jnp.isfinite(X).all():
            raise ValueError("X contains NaN or infinity: remove or impute those rows first.")
        return X

    def _apply(
        self,
        function: Callable[..., Any],
        params: Any,
        X: Any,
        *,
        linear: bool = False,
        **checks: Any,
    ) -> Any:
        """`function(params, x)`, row by row, in X's kind of array (NumPy for a source).

        Of a `linear` one the result tells whether X is finite, which saves a look at X.
        """
        if isinstance(X, Rows):
            apply = functools.partial(self._apply, function, params, linear=linear, **checks)
            return np.concatenate([apply(piece.x) for piece in X.pieces()])
        checks = {"dtype": FLOATS, "reset": False, **checks}
        if isinstance(X, jax.Array):
            table = self._table(X, **checks)
            with compute_scope(table.dtype):
                out = function(_cast(params, table.dtype), placed(table)[0])[: table.x.shape[0]]
                return out.astype(table.x.dtype) if _is_half(table.x.dtype) else out
        options: dict[str, Any] = checks | {"ensure_all_finite": False}
        rows: Any = validate_data(self, X, **options)
        dtype = _computed_in(rows.dtype)
        with compute_scope(dtype):
            known = _cast(params, dtype)
            size = self._rows_at_once(*rows.shape)
            out, finite = map_rows(function, known, rows, dtype, size, linear)
        if not finite:
            self._refuse_infinite(rows, checks)
        return out.astype(rows.dtype) if _is_half(rows.dtype) else out

    def _rows_at_once(self, n, d):
        """Of rows to compute with, how many one call may get."""
        return bucket(n, d)

    def _refuse_infinite(self, rows, checks):
        allowed = checks.get("ensure_all_finite", True)
        if allowed:
            nan, name = allowed == "allow-nan", type(self).__name__
            assert_all_finite(rows, allow_nan=nan, estimator_name=name, input_name="X")


_Fit = TypeVar("_Fit", bound=Callable[..., Any])


def all_or_nothing(fit: _Fit) -> _Fit:
    """A fit that fails or is interrupted leaves the estimator as it was."""

    @functools.wraps(fit)
    def whole(self, *args, **kwargs):
        before = dict(vars(self))
        try:
            return fit(self, *args, **kwargs)
        except BaseException:
            vars(self).clear()
            vars(self).update(before)
            raise

    wrapped: Any = whole
    return wrapped


def placed(table: Table, shape: tuple[int, int] | None = None) -> tuple[Any, Any, Any]:
    """x, y and weight on the device, rows padded to a bucket with zero weight.

    A `shape` says how many rows and columns there shall be instead.
    """
    n, d = table.x.shape
    size, width = shape or (bucket(n, d), d)
    x = table.x
    if width > d:
        x = (jnp if isinstance(x, jax.Array) else np).pad(x, [(0, 0), (0, width - d)])
    x = _place(x, table.dtype, size)
    y = None if table.y is None else _place(table.y, table.y.dtype, size)
    if table.weight is None and table.x.size > _PADDED_SIZE:
        return x, y, None
    weight = np.ones(n, table.dtype) if table.weight is None else table.weight
    return x, y, _place(weight, table.dtype, size)


def _place(rows, dtype, size):
    if isinstance(rows, jax.Array):
        padding = [(0, size - rows.shape[0])] + [(0, 0)] * (rows.ndim - 1)
        return jnp.pad(rows.astype(dtype), padding) if size > rows.shape[0] else rows.astype(dtype)
    if not usable(rows, dtype, size):
        rows, _ = laid_out(rows, dtype, size)
    return jax.device_put(rows, settings().device)


def bucket(n: int, d: int = 1) -> int:
    """The number of rows to pad to: four sizes an octave, so that a new `n` rarely compiles."""
    if n * d > _PADDED_SIZE:
        return n
    step = max(16, 2 ** (max(n - 1, 1).bit_length() - 3))
    return -(-n // step) * step


def give_back(tree: Any, like: Any) -> Any:
    """The arrays of a tree in the kind of `like`: JAX as they are, else writable NumPy."""
    if isinstance(like, jax.Array):
        return tree
    return jax.tree.map(np.array, jax.block_until_ready(tree))


def warn_unconverged(converged: Any, message: str) -> None:
    """Turns a fit that did not converge into scikit-learn's warning."""
    if not converged:
        warnings.warn(message, ConvergenceWarning, stacklevel=3)


def _weights(sample_weight, X, dtype):
    if sample_weight is None:
        return None
    if isinstance(X, jax.Array):
        X = np.empty((X.shape[0], 0), dtype)
    weight = np.asarray(
        _check_sample_weight(sample_weight, X, dtype=dtype, ensure_non_negative=True)
    )
    if not math.isfinite(weight.sum()):
        raise ValueError("sample_weight has an infinite sum: scale the weights down.")
    return weight


def _is_large(X):
    """Whether X is an array that the caches of a CPU do not hold, and a CPU computes."""
    device = settings().device or jax.devices()[0]
    plain = type(X) is np.ndarray and X.ndim == 2 and X.dtype in FLOATS
    return plain and X.size > _PADDED_SIZE and device.platform == "cpu"


def _computed_in(dtype):
    dtype = np.dtype(settings().dtype or dtype)
    return np.dtype(np.float32) if _is_half(dtype) else dtype


def _is_half(dtype):
    return dtype.itemsize < 4


def _as_target(y, n):
    y = y if isinstance(y, jax.Array) else np.asarray(y)
    if y.ndim not in (1, 2) or y.shape[0] != n:
        raise ValueError(
            f"y has shape {y.shape}, expected ({n},) or ({n}, k): one target for each row of X. "
            "Found input variables with inconsistent numbers of samples."
        )
    if jnp.issubdtype(y.dtype, jnp.floating) and not jnp.isfinite(y).all():
        raise ValueError("y contains NaN or infinity: remove those rows first.")
    return y


def _cast(params, dtype):
    def one(leaf):
        whole = isinstance(leaf, np.ndarray | jax.Array) and leaf.dtype.kind in "bi"
        return jnp.asarray(leaf, leaf.dtype if whole else dtype)

    return jax.tree.map(one, params)
