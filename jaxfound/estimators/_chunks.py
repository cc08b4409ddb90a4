"""Host rows a chunk at a time: laid out for XLA, looked through for NaN, computed, by all cores.

A chunk stays in the caches of the core that works on it, so that rows are read from memory once
and need no second copy. NumPy and JAX let go of the interpreter while they work.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxfound._config import settings
from jaxfound._threads import cores, on_cores
from jaxfound.data.windows import aligned, is_aligned

__all__ = ["laid_out", "map_rows", "usable"]

_COPIED = 2**21  # bytes of rows that one thread checks or copies at a time
_COMPUTED = 2**22  # bytes of rows in one call on a CPU: fewer cost more to start than to do
_SENT = 2**26  # bytes of rows in one call on an accelerator


def map_rows(
    function: Callable[[Any, Any], Any],
    params: Any,
    rows: np.ndarray,
    dtype: Any,
    size: int,
    linear: bool,
) -> tuple[np.ndarray, bool]:
    """`function(params, rows)`, which maps row by row, and whether the rows are finite.

    Args:
      function: jitted; gets chunks of one size, whatever the number of rows.
      rows: `[n d]`.
      dtype: to compute in, inside a `compute_scope`.
      size: rows in a chunk at most, for data that is small.
      linear: whether `function` is, so that what is not finite in a row shows in its result. Only
        rows with such a result are looked through then.
    """
    size = min(size, _rows_within(_SENT if _on_accelerator() else _COMPUTED, rows))
    chunk = jax.ShapeDtypeStruct((size, *rows.shape[1:]), dtype)
    like = jax.eval_shape(function, params, chunk)
    out = np.empty((len(rows), *like.shape[1:]), like.dtype)

    def lane(starts):
        buffer, finite = aligned(chunk.shape, dtype), True
        for start in starts:
            part = rows[start : start + size]
            buffer[: len(part)], buffer[len(part) :] = part, 0
            found = np.asarray(function(params, jax.device_put(buffer, settings().device)))
            out[start : start + size] = found[: len(part)]
            shown = linear and found.size > 0 and _is_finite(found)
            finite &= shown or _is_finite(buffer)
        return finite

    return out, all(_in_lanes(lane, range(0, len(rows), size)))


def laid_out(rows: np.ndarray, dtype: Any, size: int) -> tuple[np.ndarray, bool]:
    """The rows as XLA takes them without a copy, zeros behind them, and whether they are finite."""
    out = rows
    if not usable(rows, dtype, size):
        out = aligned((size, *rows.shape[1:]), dtype)
        out[len(rows) :] = 0
    step = _rows_within(_COPIED, rows)

    def lane(starts):
        finite = True
        for start in starts:
            part = slice(start, min(start + step, len(rows)))
            if out is not rows:
                out[part] = rows[part]
            finite &= _is_finite(out[part])
        return finite

    return out, all(_in_lanes(lane, range(0, len(rows), step)))


def usable(rows: np.ndarray, dtype: Any, size: int) -> bool:
    """Whether `laid_out` would return the rows themselves."""
    return rows.dtype == dtype and rows.shape[0] == size and is_aligned(rows)


def _in_lanes(lane, starts):
    """`lane(some of the starts)` for each core."""
    lanes = min(len(starts), cores())
    return on_cores(lane, [starts[i::lanes] for i in range(lanes)])


def _rows_within(limit, rows):
    return max(1, limit // max(1, rows.nbytes // max(1, len(rows))))


def _is_finite(part):
    with np.errstate(over="ignore", invalid="ignore"):  # a sum that overflows is looked at again
        return math.isfinite(part.sum())


def _on_accelerator():
    return (settings().device or jax.devices()[0]).platform != "cpu"
