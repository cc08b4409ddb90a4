r"""One reduction carries every convex model: $\sum_i s(w_i, x_i, y_i)$ over rows.

Gram matrices, gradients, Hessians, means and losses are all sums over rows of a small statistic.
`row_sum` takes the statistic of a *block* of rows and adds the blocks up. On a CPU the blocks fit
the cache, so a weighted or centred copy of the rows is never written to memory; on an accelerator
many blocks run as one batched operation. The blocks are added with compensation (`two_sum`), which
keeps float32 right at ten million rows. Under `jax.set_mesh` every device adds its own rows, and
the sums of the devices are added the same way.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Float, Shaped
from jaxfound.numerics.compensated import total, two_sum
from jaxfound.numerics.mesh import every, per_shard, shards

__all__ = [
    "ONE_BLOCK",
    "FlatRows",
    "finite",
    "least_rows",
    "mean_of_sample",
    "ones_like_rows",
    "present",
    "row_fold",
    "row_sum",
    "times",
]

_CACHE_BYTES = 2**22  # rows of one block on a CPU: about the second-level caches of its cores
_DEVICE_BYTES = 2**28  # rows of one batch of blocks on an accelerator
_BATCH = 64  # blocks in a batch: short sums inside a block keep float32 accurate
_LEAST_ROWS = 2**9  # of a block: smaller ones wake the threads too often
ONE_BLOCK = 2**14  # rows of a block at most: as many fit a cache
_ROWS_PER_COLUMN = 2  # at least: a block's d x d products cost more than adding them up does
_MOST_PARTS = 64  # of rows, whose products with a vector are made side by side
_IN_FLIGHT = 2  # blocks at a time: one may be read while another is multiplied


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FlatRows:
    """Rows in a row of elements, that need not begin with it: what a fold takes blocks from."""

    elements: Any  # [m], on the device
    first: Any  # [] integer: the first element of the first row
    shape: tuple[int, int] = field(metadata={"static": True})

    @property
    def dtype(self) -> Any:
        return self.elements.dtype

    def part(self, begin: Any, size: int) -> Float[Array, "_ d"]:
        """`size` rows from `begin` on."""
        d = self.shape[1]
        start = self.first + jnp.asarray(begin, self.first.dtype) * d
        return jax.lax.dynamic_slice(self.elements, (start,), (size * d,)).reshape(size, d)


def row_sum(
    statistic: Callable[..., Any], weight: Float[Array, " n"] | None, *rows: Shaped[Array, "n *_"]
) -> Any:
    """Adds `statistic(weight_block, *row_blocks)` over blocks of rows.

    Args:
      statistic: maps a block, `[b]` weights and `[b, ...]` rows, to a tree of arrays. It must be
        additive over rows and give zero for rows of zero weight.
      weight: 0 means that the row is absent. Its values reach the statistic as zeros, so that
        a NaN in them leaks nowhere. None is all ones: the statistic gets constants then, which
        the compiler multiplies by at no cost, and no row is masked.
      *rows: arrays with the same leading axis as `weight`.

    Returns:
      The tree of sums. This is the hot path of the solvers, not a path for derivatives: those
      come from the objective (see `implicit`).
    """
    if shards() > 1:
        return _over_mesh(statistic, weight, *rows)
    if rows[0].shape[0] <= ONE_BLOCK:
        return statistic(*_block(weight, rows))
    return jax.lax.platform_dependent(
        weight, *rows, cpu=partial(_in_cache, statistic), default=partial(_on_device, statistic)
    )


def row_fold(
    step: Callable[..., Any],
    start: Any,
    weight: Float[Array, " n"] | None,
    *rows: Any,
    size: int,
    in_flight: int = 1,
) -> Any:
    """Folds `carry = step(carry, weight_block, *row_blocks)` over blocks of `size` rows.

    Of `rows` each is an array `[n ...]` or `FlatRows`.
    """
    n = rows[0].shape[0]
    if n <= size:
        return step(start, *_block(weight, [_part(r, 0, n) for r in rows]))

    def block(i):
        # The last block is moved back to end with the rows; what it repeats weighs nothing.
        begin = jnp.minimum(i * size, n - size)
        parts = [_part(r, begin, size) for r in rows]
        if weight is None:
            return _block(None, parts)
        new = begin + jnp.arange(size) >= i * size
        known = jnp.where(new, _part(weight, begin, size), jnp.zeros((), weight.dtype))
        return _block(known, parts)

    def body(carry, i):
        return step(carry, *block(i)), None

    whole = n // size if weight is None else -(-n // size)
    carry = jax.lax.scan(body, start, jnp.arange(whole), unroll=in_flight)[0]
    if weight is None and n % size:
        rest = [_part(r, whole * size, n - whole * size) for r in rows]
        return step(carry, *_block(None, rest))
    return carry


def present(
    weight: Float[Array, " n"] | None, rows: Shaped[Array, "n *_"]
) -> Shaped[Array, "n *_"]:
    """`rows` with zeros in place of absent (zero-weight) rows, whatever they hold."""
    if weight is None:
        return rows
    mask = (weight > 0).reshape(weight.shape + (1,) * (rows.ndim - 1))
    return jnp.where(mask, rows, jnp.zeros((), rows.dtype))


def finite(weight: Float[Array, " n"], rows: Shaped[Array, "n *_"]) -> Shaped[Array, "n *_"]:
    """`rows` with zeros for what is NaN, or too large for later products, in absent rows.

    For objectives: unlike `present` it keeps the values of absent rows, so that the derivative in
    a weight that is zero is that of the row coming in.
    """
    usable = jnp.abs(rows) < float(jnp.finfo(rows.dtype).max) ** 0.25  # false for NaN
    lost = ~usable & (weight == 0).reshape(weight.shape + (1,) * (rows.ndim - 1))
    return jnp.where(lost, jnp.zeros((), rows.dtype), rows)


def ones_like_rows(
    x: Float[Array, "n *_"], weight: Shaped[Array, " n"] | None
) -> Float[Array, " n"]:
    """The weights in the dtype of `x`; one for each row where none are given."""
    return jnp.ones(x.shape[0], x.dtype) if weight is None else jnp.asarray(weight, x.dtype)


def least_rows(width: int) -> int:
    """Of a block, for adding it up to cost little beside making what is added."""
    return max(_LEAST_ROWS, _ROWS_PER_COLUMN * width)


def times(x: Float[Array, "n d"], coef: Float[Array, "d *k"]) -> Float[Array, "n *k"]:
    """`x @ coef`, part by part, so that all cores of a CPU work on its derivative too.

    The derivative in `coef` is a product that adds over the rows, and XLA gives a single one of
    few columns to one core; here it is a sum of such products.
    """
    product = partial(jnp.matmul, precision="highest")
    n: Any = x.shape[0]  # an exported program may leave it open
    if not isinstance(n, int) or n <= ONE_BLOCK or shards() > 1:
        return product(x, coef)
    count = max(k for k in range(1, _MOST_PARTS + 1) if n % k == 0)
    each = jnp.broadcast_to(coef, (count, *coef.shape))
    parts = jax.vmap(product)(x.reshape(count, n // count, -1), each)
    return parts.reshape(n, *coef.shape[1:])


def mean_of_sample(
    weight: Float[Array, " n"] | None, rows: Float[Array, "n *_"], size: int = 1024
) -> Float[Array, "*_"]:
    """Weighted mean of the numbers in about `size` evenly spaced rows: a cheap shift close to it.

    NaN and infinity are left out; where there is nothing else the mean is zero.
    """
    weight, rows = every(max(1, rows.shape[0] // size), weight, rows)
    # About one of the rows, so that a mean far from zero keeps the digits of the spread.
    origin = rows[0 if weight is None else jnp.argmax(weight)]
    origin = jnp.where(jnp.isfinite(origin), origin, 0)
    weight, tiny = ones_like_rows(rows, weight), jnp.finfo(rows.dtype).tiny
    share = weight / jnp.maximum(weight.sum(), tiny)
    offsets = present(weight, rows - origin[None])
    known = jnp.isfinite(offsets)
    mean = partial(jnp.tensordot, share, axes=1, precision="highest")
    amount = jnp.maximum(mean(known.astype(rows.dtype)), tiny)
    return origin + mean(jnp.where(known, offsets, 0)) / amount


def _over_mesh(statistic, weight, *rows):
    def add(parts):
        high, low = total(parts, jnp.zeros_like(parts))
        return high + low

    return jax.tree.map(add, per_shard(partial(row_sum, statistic), weight, *rows))


def _in_cache(statistic, weight, *rows):
    n = rows[0].shape[0]
    blocks = _IN_FLIGHT * -(-n // (_IN_FLIGHT * _rows_within(_CACHE_BYTES, rows)))
    size = n // blocks if weight is None else -(-n // blocks)
    return _sum(statistic, weight, rows, size=size, in_flight=_IN_FLIGHT)


def _on_device(statistic, weight, *rows):
    def batched(weight, *rows):
        if len(weight) % _BATCH:  # what is left over behind the last whole batch
            return statistic(weight, *rows)
        blocks = [r.reshape(_BATCH, -1, *r.shape[1:]) for r in (weight, *rows)]
        return jax.tree.map(lambda s: s.sum(0), jax.vmap(statistic)(*blocks))

    size = min(_rows_within(_DEVICE_BYTES // _BATCH, rows), rows[0].shape[0] // _BATCH)
    return _sum(batched, weight, rows, size=_BATCH * size, in_flight=1)


def _sum(statistic, weight, rows, size, in_flight):
    def add(carry, *block):
        sums = jax.tree.leaves(statistic(*block))
        pairs = [two_sum(high, s) for (high, _), s in zip(carry, sums, strict=True)]
        return [(high, low + e) for (high, e), (_, low) in zip(pairs, carry, strict=True)]

    def of_first_block(weight, *rows):
        return statistic(*_block(weight, rows))

    first = [None if r is None else r[:size] for r in (weight, *rows)]
    like, tree = jax.tree.flatten(jax.eval_shape(of_first_block, *first))
    zeros = [(jnp.zeros(s.shape, s.dtype),) * 2 for s in like]
    pairs = row_fold(add, zeros, weight, *rows, size=size, in_flight=in_flight)
    return jax.tree.unflatten(tree, [high + low for high, low in pairs])


def _part(rows, begin, size):
    if isinstance(rows, FlatRows):
        return rows.part(begin, size)
    return jax.lax.dynamic_slice_in_dim(rows, begin, size)


def _block(weight, rows):
    """What a statistic gets: the weights, and the rows with zeros where they are absent."""
    if weight is None:
        return jnp.ones(rows[0].shape[0], rows[0].dtype), *rows
    return weight, *(present(weight, r) for r in rows)


def _rows_within(limit, rows):
    widths = [max(1, math.prod(r.shape[1:])) for r in rows]
    row_bytes = sum(w * r.dtype.itemsize for w, r in zip(widths, rows, strict=True))
    return max(least_rows(max(widths)), min(ONE_BLOCK, 2 ** int(math.log2(limit / row_bytes))))
