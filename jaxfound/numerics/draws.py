"""Random numbers for trees that depend on a seed and a place, not on the order of work.

Whole numbers only, so that every device draws the same.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxfound._types import Array, Int, Shaped

__all__ = ["Span", "children", "draw_rows", "mix", "permuted", "span"]

_ROUNDS = 3  # of the Feistel network


def mix(x: Shaped[Array, "*s"]) -> Shaped[Array, "*s"]:
    """A hash of 32 bits to 32 bits (lowbias32 of C. Wellons, "Prospecting for hash functions")."""
    x = x ^ (x >> 16)
    x = x * _u32(0x7FEB352D)
    x = x ^ (x >> 15)
    x = x * _u32(0x846CA68B)
    return x ^ (x >> 16)


def children(seed: Shaped[Array, "*s"]) -> tuple[Shaped[Array, "*s"], Shaped[Array, "*s"]]:
    """The seeds of the two children of a node."""
    return mix(seed + _u32(0x68BC21EB)), mix(seed + _u32(0x02E5BE93))


class Span(NamedTuple):
    """The numbers below `size`, as pairs of digits `a`, `b`: there are at least as many pairs."""

    size: Any
    a: Any
    b: Any


def span(size: int) -> Span:
    """The numbers below `size`, fewer than $2^{32}$."""
    a = max(1, math.isqrt(size - 1) + 1)
    return Span._make(np.uint32(part) for part in (size, a, -(-size // a)))


def permuted(seed: Shaped[Array, "*#s"], index: Int[Array, "*s"], of: Span) -> Int[Array, "*s"]:
    """Element `index` of a permutation of a span that `seed` chooses.

    A Feistel network on pairs of digits, walked until the result is in range: any element without
    the others, so that drawing k of d features costs k (J. Black, P. Rogaway, "Ciphers with
    arbitrary finite domains", 2002). The span may be traced, and nothing is divided by it twice.
    """

    def shifted(digit, hashed, base):
        digit = digit + ((hashed >> 16) * base >> 16)
        return digit - jnp.where(digit >= base, base, _u32(0))

    def encrypt(known):
        left, right, outside = known
        x, y = left, right
        for i in range(_ROUNDS):
            odd, even = (_u32(0x9E3779B9 * (2 * i + j) & 0xFFFFFFFF) for j in (1, 2))
            x = shifted(x, mix(y + seed + odd), of.a)
            y = shifted(y, mix(x * _u32(0x85EBCA6B) + seed + even), of.b)
        left, right = jnp.where(outside, x, left), jnp.where(outside, y, right)
        return left, right, left * of.b + right >= of.size

    index = index.astype(jnp.uint32)
    left = index // of.b
    start = (left, index - left * of.b, jnp.ones(index.shape, bool))
    left, right, _ = jax.lax.while_loop(lambda known: known[2].any(), encrypt, start)
    return (left * of.b + right).astype(jnp.int32)


def draw_rows(
    seed: Shaped[Array, ""], weight: Int[Array, " n"], count: Int[Array, ""]
) -> Int[Array, " n"]:
    """How often each row is drawn in `count` draws with replacement, n of them at a time.

    A row is drawn in proportion to its whole-number weight, whose sum is below $2^{31}$.
    """
    n = weight.shape[0]
    up_to = jnp.cumsum(weight, dtype=jnp.int32)
    here = jnp.arange(n, dtype=jnp.int32)
    plain = (up_to == jnp.minimum(here + 1, up_to[-1])).all()  # each present row once, in front

    def search(at):
        return jnp.searchsorted(up_to, at, side="right", method="scan_unrolled").astype(at.dtype)

    def draw(i, drawn):
        place = i * n + here
        uniform = mix(mix(place.astype(jnp.uint32) + seed * _u32(0x9E3779B9)) ^ seed)
        at = _scaled(uniform, up_to[-1].astype(jnp.uint32)).astype(jnp.int32)
        row = jax.lax.cond(plain, lambda at: at, search, at)
        row = jnp.where(place < count, row, n)
        return drawn.at[row].add(1, mode="drop")

    rounds = (count.astype(jnp.int32) + (n - 1)) // n
    return jax.lax.fori_loop(0, rounds, draw, jnp.zeros(n, jnp.int32))


def _scaled(uniform, total):
    """The upper half of the 64-bit product, by 16-bit digits."""
    ah, al, bh, bl = uniform >> 16, uniform & 0xFFFF, total >> 16, total & 0xFFFF
    middle = ah * bl + (al * bl >> 16)
    carry = (middle & 0xFFFF) + al * bh
    return ah * bh + (middle >> 16) + (carry >> 16)


def _u32(value: int) -> Any:
    return jnp.uint32(value)
