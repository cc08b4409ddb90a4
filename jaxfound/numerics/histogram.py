r"""Bins of features, for trees: at most 255 ordered codes in place of the values of a feature.

A feature with no more distinct values than bins has one bin a value, so nothing is lost. Of others
one half of the bins goes by weight, where one value counts for at most one bin, so that a feature
that is mostly zero keeps its resolution elsewhere. The other half goes by distinct values: the few
rows of a long tail are apart, though they weigh little. Rows of weight zero have no part in this.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxfound._types import Array, Bool, Float, Int, Shaped
from jaxfound.numerics.ordinal import from_ordinal, ordinal

__all__ = ["BINS", "MISSING", "Bins", "bin_features", "encode", "running_count", "running_sum"]

BINS = 255  # codes 0 to 254
MISSING = 255  # the code of NaN
_FEW = 512  # rows
_LONG = 64  # entries, whose running sum goes in two levels


class Bins(NamedTuple):
    """The smallest and the largest value in every bin, features first."""

    low: Float[Array, "d b"]
    high: Float[Array, "d b"]  # ascending; an empty bin repeats the one before


def bin_features(x: Float[Array, "n d"], weight: Int[Array, " n"]) -> Bins:
    """The bins of every feature, from the rows of positive weight.

    Args:
      x: rows; NaN is missing and belongs to no bin.
      weight: 0 means that the row is absent, 2 that it counts twice; the sum is below $2^{24}$.
    """
    mass = jnp.where(jnp.isnan(x.T), 0, weight[None].astype(jnp.int32))
    even = ((weight == weight.max()) | (weight == 0)).all()

    def one(feature):
        if len(x) <= _FEW:  # a second way to sort takes longer to compile than it saves
            return _cut(*_sorted(*feature))
        return _cut(*jax.lax.cond(even, _evenly_sorted, _sorted, *feature))

    return jax.lax.map(one, (x.T, mass))


def encode(x: Float[Array, "n d"], bins: Bins) -> Shaped[Array, "d n"]:
    """The code of every value, uint8, features first: the first bin that reaches up to it."""
    # The same found by two programs: one compiles sooner, the other runs faster.
    method = "scan" if len(x) <= _FEW else "scan_unrolled"

    def one(column, high):
        code = jnp.searchsorted(high, column, method=method).clip(max=BINS - 1)
        return jnp.where(jnp.isnan(column), MISSING, code).astype(jnp.uint8)

    return jax.lax.map(lambda feature: one(*feature), (x.T, bins.high))


def running_sum(values: Shaped[Array, "*r 256"]) -> Float[Array, "*r 256"]:
    """Cumulative sums of whole numbers that stay below $2^{24}$, so every order is exact.

    In two levels of sixteen, as products with a triangle, which a CPU and an accelerator do fast.
    """
    within = _triangle_product(values.astype(jnp.float32).reshape(-1, 16), strict=False)
    within = within.reshape(-1, 16, 16)
    before = _triangle_product(within[:, :, -1], strict=True)
    return (within + before[:, :, None]).reshape(values.shape)


def running_count(mask: Bool[Array, "*r n"]) -> Int[Array, "*r n"]:
    """Cumulative sums of a mask, by a triangle: exact in float32."""
    size = mask.shape[-1]
    if size > _LONG:
        within = running_count(mask.reshape(*mask.shape[:-1], -1, 16))
        ends = within[..., -1]
        before = jnp.cumsum(ends, -1, dtype=jnp.int32) - ends
        return (within + before[..., None]).reshape(mask.shape)
    triangle = np.triu(np.ones((size, size), np.float32))
    counts = jnp.matmul(mask.astype(jnp.float32), triangle, precision="highest")
    return counts.astype(jnp.int32)


def _triangle_product(rows, strict):
    triangle = np.triu(np.ones((16, 16), np.float32), int(strict))
    return jnp.matmul(rows, triangle, precision="highest")


def _evenly_sorted(column, mass):
    """Rows of one weight need not be sorted together with it."""
    ordered = jax.lax.sort(_present_first(column, mass))
    live = jnp.arange(len(mass), dtype=jnp.int32) < (mass > 0).sum(dtype=jnp.int32)
    return from_ordinal(ordered, column.dtype), live.astype(jnp.int32)


def _sorted(column, mass):
    ordered, mass = jax.lax.sort((_present_first(column, mass), mass), num_keys=1)
    return from_ordinal(ordered, column.dtype), mass


def _present_first(column, mass):
    """Whole numbers in the order of the values, absent rows last."""
    column = jnp.where(column == 0, jnp.zeros_like(column), column)  # one zero, not two
    known = ordinal(column)
    return jnp.where(mass > 0, known, jnp.iinfo(known.dtype).max)


def _cut(ordered, mass):
    """Bins of an ascending column, whose absent rows (mass 0) come last."""
    live = mass > 0
    is_new = jnp.append(True, ordered[1:] != ordered[:-1]) & live
    is_last = live & jnp.append(is_new[1:] | ~live[1:], True)
    rank = jnp.cumsum(is_new, dtype=jnp.int32) - 1  # of the distinct value
    up_to = jnp.cumsum(mass, dtype=jnp.int32)
    below = jax.lax.cummax(jnp.where(is_new, up_to - mass, 0))  # mass of the smaller values
    own = jnp.where(is_last, jnp.minimum(up_to - below, up_to[-1] // BINS + 1), 0)
    below_share = _share(jnp.cumsum(own, dtype=jnp.int32) - own, own.sum(dtype=jnp.int32))
    both = jnp.floor((below_share + _share(rank, rank[-1] + 1)) * (0.5 * BINS))
    code = jnp.where(rank[-1] < BINS, rank, both.astype(rank.dtype))
    code = jnp.where(is_last, code.clip(0, BINS - 1), BINS)  # out of bounds: dropped
    empty = jnp.full(BINS, -jnp.inf, ordered.dtype)
    high = jax.lax.cummax(empty.at[code].max(ordered, mode="drop"))
    low = (-empty).at[code].min(ordered, mode="drop")
    return Bins(low, high)


def _share(part, whole):
    return part.astype(jnp.float32) * (1 / whole.astype(jnp.float32))
