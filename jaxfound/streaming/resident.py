"""Sums over rows that are in memory already: chunks, each added up while it is in a cache.

Every core copies a chunk to where XLA takes it as it is, looks through it for NaN, and adds its
statistic to sums of its own. So the rows are read from memory once, and never exist twice.
"""

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax.tree_util import Partial

from jaxfound._threads import cores, on_cores
from jaxfound._types import Array
from jaxfound.data.batches import aligned, looked_through
from jaxfound.data.sources import Block, Rows
from jaxfound.streaming.stream import add_to, computed, means_of, zeros_of

__all__ = ["Resident"]

_CHUNK_BYTES = 2**22  # of x: fewer cost more to start than to add up
_MOST_ROWS = 2**14  # of a chunk, so that a statistic takes it whole


class Resident:
    """What `Stream` does, for a single block in memory."""

    def __init__(self, rows: Rows, *, y_dtype: Any = None, allow_nan: bool = False):
        (self._block,) = rows
        self.dtype, (self.n, self.d) = computed(rows.dtype), self._block.x.shape
        self._y_dtype, self._allow_nan = y_dtype, allow_nan
        size = max(1, _CHUNK_BYTES // (self.d * self.dtype.itemsize))
        self._size = min(self.n, size, _MOST_ROWS)

    def total(self, statistic: Partial) -> Any:
        """The sum of `statistic(weight, x[, y])` over all rows."""

        def step(carry, *batch):
            return add_to(
                zeros_of(statistic, *batch) if carry is None else carry, statistic, *batch
            )

        sums = [jax.tree.map(operator.add, *carry) for carry in self._in_lanes(step)]
        return jax.tree.map(lambda *parts: sum(parts[1:], parts[0]), *sums)

    def merged(self, summary: Callable[..., Any], merge: Callable[[Any, Any], Any]) -> Any:
        """`merge` of `summary(x, weight)` of all chunks."""

        def step(carry, weight, x, *_):
            found = summary(x, weight)
            return found if carry is None else merge(carry, found)

        first, *others = self._in_lanes(step)
        for other in others:
            first = merge(first, other)
        return first

    def fold(self, step: Callable[..., Any], carry: Any) -> Any:
        """`carry = step(carry, weight, x[, y])` over all chunks, one after the other."""
        return self._lane(step, carry, range(0, self.n, self._size))

    def means(self) -> tuple[Array, ...]:
        """Of x (and y), of evenly spaced rows."""
        rows = self._block.part(slice(None, None, max(1, self.n // 1024)))
        sample = self._filled(rows, self._buffers(len(rows.x)))
        return jax.block_until_ready(means_of(*sample))

    def _in_lanes(self, step):
        starts = range(0, self.n, self._size)
        lanes = min(len(starts), cores())
        return on_cores(partial(self._lane, step, None), [starts[i::lanes] for i in range(lanes)])

    def _lane(self, step, carry, starts):
        buffers = self._buffers(self._size)
        for start in starts:
            chunk = self._block.part(slice(start, start + self._size))
            batch = self._filled(chunk, buffers)
            copied, options = buffers[0][: len(chunk.x)], {"allow_nan": self._allow_nan}
            looked_through(copied, "x", chunk, start, **options)
            carry = step(carry, *batch)
            jax.block_until_ready(carry)  # the buffers are free again
        return carry

    def _buffers(self, size):
        y = self._block.y
        targets = None if self._y_dtype is None else aligned((size, *y.shape[1:]), self._y_dtype)
        return aligned((size, self.d), self.dtype), targets, aligned((size,), self.dtype)

    def _filled(self, chunk: Block, buffers):
        """Weight, x and y on the device; rows of weight zero fill up a chunk that is short."""
        x, y, weight = buffers
        n = len(chunk.x)
        for out, part in ((x, chunk.x), (y, chunk.y), (weight, chunk.weight)):
            if out is not None:
                out[:n], out[n:] = 1 if part is None else part, 0
        whole = n == len(x) and chunk.weight is None
        rows = [None if whole else weight, x, *([] if y is None else [y])]
        return [None if r is None else jax.device_put(r) for r in rows]
