"""Sums over rows that are in memory already, read from there once, by all cores.

Every core adds the statistic of some chunks to sums of its own. XLA takes a chunk where it lies;
only at the ends of the array, or of rows that it cannot read as they are, it gets a copy. What is
made of the rows on the way is a block at a time, small enough for the caches of one core.
"""

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.tree_util import Partial

from jaxfound._threads import cores, on_cores
from jaxfound._types import Array
from jaxfound.data import windows
from jaxfound.data.batches import looked_through
from jaxfound.data.sources import Block, Rows
from jaxfound.numerics.reduce import least_rows, row_fold
from jaxfound.streaming.stream import added, computed, means_of, zeros_of

__all__ = ["Resident"]

_CHUNK_BYTES = 2**23  # of x: fewer cost more to start than to add up
_BLOCK_BYTES = 2**20  # of x, in what a statistic takes: about a core's second-level cache
_SIZES = 16  # of blocks, in an octave: that a new number of rows seldom compiles


class Resident:
    """What `Stream` does, for a single block in memory."""

    def __init__(self, rows: Rows, *, y_dtype: Any = None, allow_nan: bool = False):
        (self._block,) = rows
        self.dtype, (self.n, self.d) = computed(rows.dtype), self._block.x.shape
        self._y_dtype, self._allow_nan = y_dtype, allow_nan
        self._size, self._block_rows = _even(self.n, self.d, self.dtype.itemsize)

    def total(self, statistic: Partial) -> Any:
        """The sum of `statistic(weight, x[, y])` over all rows."""

        def step(carry, weight, x, *y):
            carry = _zeros_of(statistic, weight, x, *y) if carry is None else carry
            return _add_to(carry, statistic, weight, x, *y, size=self._block_rows)

        # What is not finite shows in the sums, but for rows that are absent: those are looked at.
        lanes = self._in_lanes(step, look=self._block.weight is not None)
        sums = [jax.tree.map(operator.add, *carry) for carry in lanes]
        sums = jax.tree.map(lambda *parts: sum(parts[1:], parts[0]), *sums)
        if not all(np.isfinite(s).all() for s in jax.tree.leaves(sums)):
            self._look_through()
        return sums

    def fold(self, step: Callable[..., Any], carry: Any) -> Any:
        """`carry = step(carry, weight, x[, y])` over all chunks, one after the other."""

        def one(carry, weight, x, *y):
            return step(carry, weight, _unfolded(x), *y)

        return self._lane(one, carry, range(0, self.n, self._size))

    def means(self) -> tuple[Array, ...]:
        """Of x (and y), of evenly spaced rows."""
        spaced = self._block.part(slice(None, None, max(1, self.n // 1024)))
        x = np.ascontiguousarray(spaced.x, self.dtype)
        sample = self._beside(spaced, self._buffers(len(x)), jax.device_put(x))
        return jax.block_until_ready(means_of(*sample))

    def _in_lanes(self, step, look=True):
        starts = range(0, self.n, self._size)
        lanes = min(len(starts), cores())
        lane = partial(self._lane, step, None, look=look)
        return on_cores(lane, [starts[i::lanes] for i in range(lanes)])

    def _lane(self, step, carry, starts, look=True):
        room, buffers = windows.room(self._size, self.d, self.dtype), self._buffers(self._size)
        for start in starts:
            chunk = self._block.part(slice(start, start + self._size))
            x, seen = windows.window(self._block.x, start, self._size, self.dtype), chunk.x
            if x is None:
                x, seen = windows.copied(chunk.x, room, self._size)
            if look:
                looked_through(seen, "x", chunk, start, allow_nan=self._allow_nan)
            carry = step(carry, *self._beside(chunk, buffers, x))
            jax.block_until_ready(carry)  # the buffers are free again
        return carry

    def _look_through(self):
        for start in range(0, self.n, self._size):
            chunk = self._block.part(slice(start, start + self._size))
            seen = np.asarray(chunk.x, self.dtype)
            looked_through(seen, "x", chunk, start, allow_nan=self._allow_nan)

    def _buffers(self, size):
        y, weight = self._block.y, windows.aligned((size,), self.dtype)
        if self._y_dtype is None:
            return weight, None
        return weight, windows.aligned((size, *y.shape[1:]), self._y_dtype)

    def _beside(self, chunk: Block, buffers, x):
        """Weight, x and y on the device; rows of weight zero fill up a chunk that is short."""
        n, (weight, y) = len(chunk.x), buffers
        for out, part in ((weight, chunk.weight), (y, chunk.y)):
            if out is not None:
                out[:n], out[n:] = 1 if part is None else part, 0
        whole = n == len(weight) and chunk.weight is None
        targets = [] if y is None else [jax.device_put(y)]
        return [None if whole else jax.device_put(weight), x, *targets]


@jax.jit
def _zeros_of(statistic, weight, x, *y):
    return zeros_of(statistic, weight, _unfolded(x), *y)


@partial(jax.jit, static_argnames="size")
def _add_to(carry, statistic, weight, *rows, size):
    def step(carry, *block):
        return added(carry, statistic(*block))

    return row_fold(step, carry, weight, *rows, size=size)


@jax.jit
def _unfolded(x):
    return x.part(0, x.shape[0])


def _even(n, d, item_bytes):
    """The rows of a chunk and of a block: as many chunks for every core, and blocks for those."""
    least = least_rows(d)
    chunks = _parts(n, max(least, _CHUNK_BYTES // (d * item_bytes)))
    rows = -(-n // (-(-chunks // cores()) * cores()))
    blocks = _parts(rows, max(least, _BLOCK_BYTES // (d * item_bytes)))
    block = -(-rows // blocks)
    step = max(1, 2 ** block.bit_length() // (2 * _SIZES))
    block = -(-block // step) * step
    return blocks * block, block


def _parts(n, most):
    return -(-n // most)
