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
    high = a + b
    seen = high - a
    return high, (a - (high - seen)) + (b - seen)


def product(
    a: Float[Array, "*#s"], b: Float[Array, "*#s"]
) -> tuple[Float[Array, "*s"], Float[Array, "*s"]]:
    """`a * b` as (product, rest), wrong by no more than the rounding of the rest.

    The three products of halves that count are exact, and so stay when a compiler fuses them into
    the sums that follow (as a fused multiply-add); a rounded product there would void the rest.
    """
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    cross, least = two_sum(a1 * b2, a2 * b1)
    high, low = two_sum(a1 * b1, cross)
    return high, low + (least + a2 * b2)


def total(
    high: Float[Array, "m *s"], low: Float[Array, "m *s"]
) -> tuple[Float[Array, "*s"], Float[Array, "*s"]]:
    """Sum of `high + low` over the leading axis, as (rounded sum, rest).

    One reduction, whatever its order, and not a tree of halves: that would be the faster program
    on a CPU by a little, and ten times the slower one to compile.
    """

    def add(a, b):
        (high, low), (more, rest) = a, b
        high, error = two_sum(high, more)
        return high, low + rest + error

    zero = jnp.zeros((), high.dtype)
    return two_sum(*lax.reduce((high, low), (zero, zero), add, (0,)))


def _halves(a):
    # Clearing bits cannot be simplified away by a compiler, unlike Veltkamp's splitting.
    kind, bits = _LOW_BITS[a.dtype.itemsize]
    keep = kind((1 << 8 * a.dtype.itemsize) - (1 << bits))
    high = lax.bitcast_convert_type(lax.bitcast_convert_type(a, kind) & keep, a.dtype)
    return high, a - high
