r"""Weighted first and second moments of rows, about their mean so that no digits cancel.

$$\bar x = \sum_i w_i x_i / \sum_i w_i, \qquad
  G = \sum_i w_i (x_i - \bar x)(x_i - \bar x)^\top$$

Each is a sum over rows about a shift close to the mean (`moment_sums`, `scatter_sums`: what is
added up), moved to the mean afterwards (`centred`, `centred_scatter`). Whoever adds the rows up,
here or out of core, adds the same sums.

Reference: T. Chan, G. Golub, R. LeVeque, Algorithms for computing the sample variance,
The American Statistician 37 (1983), eq. 1.7 (shifted data).
"""

from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxfound._types import Array, Float
from jaxfound.numerics.reduce import mean_of_sample, row_sum

__all__ = [
    "Moments",
    "centred",
    "centred_scatter",
    "moment_sums",
    "moments",
    "scatter",
    "scatter_sums",
    "sum_of_squares",
]

_LEAF = 256  # columns below which splitting a symmetric product no longer pays
_dot = partial(jnp.matmul, precision="highest")


class Moments(NamedTuple):
    """Weighted moments about the mean (about zero without an intercept)."""

    weight: Float[Array, ""]  # the sum of the weights
    x_mean: Float[Array, " d"]
    y_mean: Float[Array, " k"]
    gram: Float[Array, "d d"]  # sum of w (x - mean)(x - mean)'
    cross: Float[Array, "d k"]  # sum of w (x - mean)(y - mean)'
    y_square: Float[Array, " k"]  # sum of w (y - mean)^2


def moments(
    x: Float[Array, "n d"],
    y: Float[Array, "n k"],
    weight: Float[Array, " n"] | None,
    *,
    centre: bool,
) -> Moments:
    """Weighted moments in one pass, about a shift close to the mean so that no digits cancel."""
    x_shift = mean_of_sample(weight, x) if centre else jnp.zeros(x.shape[1:], x.dtype)
    y_shift = mean_of_sample(weight, y) if centre else jnp.zeros(y.shape[1:], y.dtype)

    sums = row_sum(partial(moment_sums, x_shift, y_shift), weight, x, y)
    return centred(x_shift, y_shift, sums, centre=centre)


def moment_sums(
    x_shift: Float[Array, " d"],
    y_shift: Float[Array, " k"],
    w: Float[Array, " b"],
    x: Float[Array, "b d"],
    y: Float[Array, "b k"],
) -> Any:
    """What `moments` adds up over blocks of rows."""
    x, y = x - x_shift[None], y - y_shift[None]
    yw = y * w[:, None]
    # A vector times the rows, not the sum over a column, which is slow on a CPU.
    first = w.sum(), _dot(w, x), yw.sum(0)
    return *first, _gram_pieces(x * w[:, None], x), _dot(yw.T, x), (yw * y).sum(0)


def centred(
    x_shift: Float[Array, " d"], y_shift: Float[Array, " k"], sums: Any, *, centre: bool
) -> Moments:
    """The moments that belong to the sum of `moment_sums` over all rows."""
    amount, x_sum, y_sum, pieces, cross, y_square = sums
    gram, cross = _assemble(pieces), cross.T
    if not centre:
        return Moments(amount, jnp.zeros_like(x_sum), jnp.zeros_like(y_sum), gram, cross, y_square)
    x_off, y_off = x_sum / amount, y_sum / amount
    return Moments(
        amount,
        x_shift + x_off,
        y_shift + y_off,
        gram - jnp.outer(x_sum, x_off),
        cross - jnp.outer(x_sum, y_off),
        y_square - y_sum * y_off,
    )


def scatter(
    x: Float[Array, "n d"], weight: Float[Array, " n"] | None
) -> tuple[Float[Array, " d"], Float[Array, ""], Float[Array, "d d"]]:
    """Mean, sum of weights, and $\\sum_i w_i (x_i - \\bar x)(x_i - \\bar x)^\\top$, in one pass."""
    shift = mean_of_sample(weight, x)
    return centred_scatter(shift, row_sum(partial(scatter_sums, shift), weight, x))


def scatter_sums(shift: Float[Array, " d"], w: Float[Array, " b"], x: Float[Array, "b d"]) -> Any:
    """What `scatter` adds up over blocks of rows."""
    x = x - shift[None]
    return w.sum(), _dot(w, x), _gram_pieces(x * w[:, None], x)


def centred_scatter(
    shift: Float[Array, " d"], sums: Any
) -> tuple[Float[Array, " d"], Float[Array, ""], Float[Array, "d d"]]:
    """The result of `scatter` that belongs to the sum of `scatter_sums` over all rows."""
    amount, x_sum, pieces = sums
    offset = x_sum / amount
    return shift + offset, amount, _assemble(pieces) - jnp.outer(x_sum, offset)


def sum_of_squares(known: Moments, coef: Float[Array, "d k"]) -> Float[Array, ""]:
    """The weighted residual sum of squares of `coef` with its best intercept, from the moments."""
    explained = coef * (2 * known.cross - _dot(known.gram, coef))
    return jnp.maximum(known.y_square.sum() - explained.sum(), 0)


def _gram_pieces(xw, x):
    # Half of a symmetric product is known from the other half: split while that saves time.
    half = x.shape[1] // 16 * 8
    if x.shape[1] <= _LEAF:
        return _dot(xw.T, x)
    corner = _dot(xw[:, :half].T, x[:, half:])
    return _gram_pieces(xw[:, :half], x[:, :half]), corner, _gram_pieces(xw[:, half:], x[:, half:])


def _assemble(pieces):
    if not isinstance(pieces, tuple):
        return pieces
    first, corner, second = _assemble(pieces[0]), pieces[1], _assemble(pieces[2])
    return jnp.block([[first, corner], [corner.T, second]])
