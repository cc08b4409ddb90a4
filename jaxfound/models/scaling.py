"""Standardising: weighted means and variances, whole or batch by batch."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._show import as_table
from jaxfound._types import Array, Float, Shaped
from jaxfound.numerics.branch import cond_per_lane
from jaxfound.numerics.compensated import two_sum
from jaxfound.numerics.implicit import with_derivatives_of
from jaxfound.numerics.reduce import mean_of_sample, ones_like_rows, row_sum

__all__ = ["Params", "described", "fit", "inverse_transform", "merge", "scale", "sums", "transform"]

_dot = partial(jnp.matmul, precision="highest")


class Params(NamedTuple):
    mean: Float[Array, " d"]
    var: Float[Array, " d"]  # divided by the weight, not by weight - 1
    weight: Float[Array, " d"]  # the sum over rows that have a value
    rest: Float[Array, " d"]  # of the mean, below its rounding: float32 keeps 1e6 + 0.01

    _repr_html_ = as_table


@partial(jax.jit, static_argnames="dtype")
def fit(
    x: Float[Array, "n d"], weight: Shaped[Array, " n"] | None = None, *, dtype: Any = None
) -> Params:
    r"""Weighted mean and variance of every column in one pass.

    $$\bar x_j = \sum_i w_i x_{ij} / W_j, \qquad v_j = \sum_i w_i (x_{ij} - \bar x_j)^2 / W_j$$

    The sums are about a shift close to the mean, which keeps the digits of a small spread about
    a large mean, in float32 too.

    Args:
      x: one row a sample; NaN is a missing value, left out of its column.
      weight: 0 means that the row is absent, an integer that it is repeated; None is all ones.
      dtype: of the sums and the result; that of `x` if not given. The cast is made block by block.

    Returns:
      `Params`. A column without any value has mean and variance NaN.

    Reference: T. Chan, G. Golub, R. LeVeque, Algorithms for computing the sample variance,
    The American Statistician 37 (1983), eq. 1.7 (shifted data).
    """
    dtype = jnp.dtype(x.dtype if dtype is None else dtype)
    weight = None if weight is None else jnp.asarray(weight, dtype)
    shift = mean_of_sample(weight, x.astype(dtype))
    return _moments(x, weight, jax.lax.stop_gradient(shift))


@jax.jit
def merge(a: Params, b: Params) -> Params:
    """The moments of two batches together.

    Reference: Chan, Golub, LeVeque (1983), eq. 2.1.
    """
    weight = a.weight + b.weight
    share = jnp.where(weight > 0, b.weight / jnp.where(weight > 0, weight, 1), 0)
    a, b = (jax.tree.map(lambda v, w=p.weight: jnp.where(w > 0, v, 0), p) for p in (a, b))
    gap = (b.mean - a.mean) + (b.rest - a.rest)
    mean, rest = two_sum(a.mean, share * gap)
    var = (1 - share) * a.var + share * b.var + share * (1 - share) * gap**2
    mean, var = (jnp.where(weight > 0, value, jnp.nan) for value in (mean, var))
    return Params(mean, var, weight, rest + a.rest)


def scale(params: Params) -> Float[Array, " d"]:
    """Standard deviations; 1 for a constant column, its spread below the rounding of its mean."""
    rounding = jnp.finfo(params.var.dtype).eps * jnp.abs(params.mean) / 8
    constant = params.var <= rounding**2
    return jnp.where(constant, 1, jnp.sqrt(jnp.where(constant, 1, params.var)))


def transform(params: Params, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Columns of mean zero and variance one; constant ones are only centred."""
    return ((x - params.mean[None]) - params.rest[None]) / scale(params)[None]


def inverse_transform(params: Params, x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Undoes `transform`."""
    return (x * scale(params)[None] + params.rest[None]) + params.mean[None]


def sums(shift: Float[Array, " d"], w: Float[Array, " b"], x: Float[Array, "b d"]) -> Any:
    """What `fit` adds up over blocks of rows, for whoever adds them up elsewhere."""
    return _or_of_known(_sums, _sums_of_known, shift, w, x)


def described(shift: Float[Array, " d"], sums: Any) -> Params:
    """What `fit` returns for the `sums` over all rows."""
    total, first, second = sums
    offset = first / total
    mean, rest = two_sum(shift, offset)
    return Params(mean, jnp.maximum(second / total - offset**2, 0), total, rest)


def _blocked(x, weight, shift):
    def over_rows(statistic):
        return lambda shift, w, x: row_sum(partial(statistic, shift), w, x)

    return described(
        shift, _or_of_known(over_rows(_sums), over_rows(_sums_of_known), shift, weight, x)
    )


def _or_of_known(of_all, of_known, *rows):
    # The sums of complete rows are faster, and not finite where there are holes.
    complete = of_all(*rows)
    holes = ~jnp.isfinite(complete[2]).all()
    options = lambda _, *rows: of_known(*rows), lambda complete, *_: complete
    return cond_per_lane(holes, *options, complete, *rows)


def _sums(shift, w, x):
    x, w = x.astype(shift.dtype) - shift[None], w.astype(shift.dtype)
    return jnp.broadcast_to(w.sum(), shift.shape), _dot(w, x), _dot(w, x**2)


def _sums_of_known(shift, w, x):
    known = ~jnp.isnan(x)
    x = jnp.where(known, x.astype(shift.dtype) - shift[None], 0)
    w = jnp.where(known, w.astype(shift.dtype)[:, None], 0)
    return w.sum(0), (w * x).sum(0), (w * x**2).sum(0)


def _whole(x, weight, shift):
    # The definition; its derivatives are those of the blocked sums.
    x = x.astype(shift.dtype)
    weight = ones_like_rows(x, weight)
    known = ~jnp.isnan(x) & jnp.isfinite(jnp.where(weight[:, None] == 0, x, 0))
    x, w = jnp.where(known, x, 0), jnp.where(known, weight[:, None], 0)
    total = w.sum(0)
    mean = (w * x).sum(0) / total
    return Params(mean, (w * (x - mean[None]) ** 2).sum(0) / total, total, jnp.zeros_like(mean))


_moments = with_derivatives_of(_whole, _blocked)
