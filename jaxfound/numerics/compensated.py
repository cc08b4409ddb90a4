r"""Sums and products with an error term: what rounding takes away is carried along.

A value is an unevaluated sum `high + low` of two floats of the working precision, which carries
about twice its digits (48 bits from float32, 106 from float64) through a cancellation, on any
device, also on those without float64.

References:
  T. Ogita, S. Rump, S. Oishi, Accurate sum and dot product, SIAM J. Sci. Comput. 26 (2005),
  algorithm 3.1 (`two_sum`) and section 3.2 (products of halves).
"""

import jax.numpy as jnp
from jax import lax

from jaxfound._types import Array, Float

__all__ = ["product", "total", "two_sum"]

# Trailing bits of the significand to clear, so that products of halves are exact.
_LOW_BITS = {4: (jnp.uint32, 12), 8: (jnp.uint64, 27)}


def two_sum(
    a: Float[Array, "*s"], b: Float[Array, "*s"]
) -> tuple[Float[Array, "*s"], Float[Array, "*s"]]:
    """`a + b` as (rounded sum, exact error)."""
    # `lax` by name: operators would trace a function each, and this is traced a hundred times.
    high = lax.add(a, b)
    seen = lax.sub(high, a)
    return high, lax.add(lax.sub(a, lax.sub(high, seen)), lax.sub(b, seen))


def product(
    a: Float[Array, "*#s"], b: Float[Array, "*#s"]
) -> tuple[Float[Array, "3 *s"], Float[Array, "*s"]]:
    """`a * b` as three exact terms to add up and a rest below the rounding of the smallest.

    Exact terms stay exact when a compiler fuses them into the `two_sum` that follows (as a fused
    multiply-add); a rounded product there would void the error term.
    """
    a, b = jnp.broadcast_arrays(a, b)
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    return jnp.stack([a1 * b1, a1 * b2, a2 * b1]), a2 * b2


def total(
    high: Float[Array, "m *s"], low: Float[Array, "*s"]
) -> tuple[Float[Array, "*s"], Float[Array, "*s"]]:
    """Sum of `high` over its leading axis, plus `low`, as (rounded sum, rest)."""
    while (m := high.shape[0]) > 1:
        half = m // 2
        pair, error = two_sum(_part(high, 0, half), _part(high, half, 2 * half))
        high = lax.concatenate([pair, _part(high, m - 1, m)], 0) if m % 2 else pair
        low = lax.add(low, error.sum(0))
    return two_sum(high[0], low)


def _part(rows, start, stop):
    return lax.slice_in_dim(rows, start, stop)


def _halves(a):
    # Clearing bits cannot be simplified away by a compiler, unlike Veltkamp's splitting.
    kind, bits = _LOW_BITS[a.dtype.itemsize]
    keep = kind((1 << 8 * a.dtype.itemsize) - (1 << bits))
    high = lax.bitcast_convert_type(lax.bitcast_convert_type(a, kind) & keep, a.dtype)
    return high, a - high
