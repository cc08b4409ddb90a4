"""Confidence intervals for anything that a fit gives, from fits to rows drawn anew."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri

from jaxfound._show import as_table
from jaxfound._types import Array, Float, Key, Shaped
from jaxfound.inspect.influence import influence
from jaxfound.numerics.branch import lane_by_lane
from jaxfound.numerics.draws import draw_rows
from jaxfound.numerics.reduce import ones_like_rows

__all__ = ["Bootstrap", "Method", "intervals"]

Method = Literal["percentile", "bca"]
_Quantity = Callable[..., Any]
_dot = partial(jnp.matmul, precision="highest")


class Bootstrap(NamedTuple):
    """Every field is like the quantity; that of the samples has an axis `[b]` before."""

    estimate: Any
    error: Any  # standard error: the deviation of the samples
    low: Any
    high: Any
    samples: Any

    _repr_html_ = as_table


@partial(jax.jit, static_argnames=("quantity", "model", "n_samples", "method", "config"))
def intervals(
    quantity: _Quantity,
    model: Any,
    x: Float[Array, "n d"],
    y: Shaped[Array, " n"],
    key: Key,
    weight: Shaped[Array, " n"] | None = None,
    hyper: Any = None,
    *given: Any,
    level: Float[Array, ""] | float = 0.95,
    n_samples: int = 1000,
    method: Method = "percentile",
    config: Any = None,
) -> Bootstrap:
    r"""Fits `model` to `n_samples` samples of the rows, drawn with replacement.

    A sample is an integer weight a row, so all fits have one shape and are lanes of one program.
    The interval of "percentile" runs between the quantiles $\frac{1 \mp \text{level}}2$ of the
    samples. "bca" moves both,

    $$\alpha \mapsto \Phi\Big(z_0 + \frac{z_0 + z_\alpha}{1 - a (z_0 + z_\alpha)}\Big),$$

    by the bias $z_0 = \Phi^{-1}$(share of samples below the estimate) and the acceleration
    $a = \sum_i U_i^3 / 6 (\sum_i U_i^2)^{3/2}$, where $U_i$ is the derivative of the quantity in
    the weight of row i: one implicit derivative in place of the jackknife's n fits, from which it
    differs where a row has much leverage. For models with derivatives only.

    Args:
      quantity: of `(params, *given)`, a number or a tree of arrays; static.
      model: a module of `jaxfound.models`, or a `Pipeline`; static.
      x, y, hyper, config: as for `model.fit`; defaults if None.
      key: of the samples.
      weight: whole numbers: how often each row is there. A sample has as many rows as these are.
      *given: what else `quantity` reads.
      level: probability that an interval holds the quantity.

    Raises:
      TypeError: for "bca" and a model without derivatives.

    Example:
      >>> found = intervals(lambda params: params.coef, linear, x, y, jax.random.key(0))
      >>> low, high = found.low, found.high  # [d]

    Reference: B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, algorithm 6.1 and
    sections 13.3 and 14.3; B. Efron, Better bootstrap confidence intervals, JASA 82 (1987), section
    7, for the acceleration from derivatives.
    """
    weight = ones_like_rows(x, weight)
    rows = weight.astype(jnp.int32)

    def fitted(counts, x, y, hyper, given):
        settings = {} if config is None else {"config": config}
        own = () if hyper is None else (hyper,)
        return quantity(model.fit(x, y, counts, *own, **settings)[0], *given)

    def drawn(seed):
        counts = draw_rows(seed, rows, rows.sum(dtype=jnp.int32)).astype(weight.dtype)
        return lane_by_lane(fitted)(counts, x, y, hyper, given)

    estimate = fitted(weight, x, y, hyper, given)
    samples = jax.vmap(drawn)(jax.random.bits(key, (n_samples,), jnp.uint32))
    level = jnp.asarray(level, weight.dtype)
    tails = jnp.stack([1 - level, 1 + level]) / 2
    shares = jax.tree.map(lambda one: jnp.broadcast_to(_to(tails, one), (2, *one.shape)), estimate)
    if method == "bca":
        slopes = influence(quantity, model, x, y, weight, hyper, *given, config=config)
        shares = jax.tree.map(partial(_moved, tails, weight), estimate, samples, slopes)
    low, high = (jax.tree.map(partial(_quantile, end=end), samples, shares) for end in (0, 1))
    error = jax.tree.map(lambda many: many.std(0, ddof=1), samples)
    return Bootstrap(estimate, error, low, high, samples)


def _moved(tails, weight, estimate, samples, influence):
    """The quantiles of BCa, `[2 ...]`; `influence` is $-w_i U_i$, rows last."""
    beyond = (jnp.sign(estimate[None] - samples).mean(0) + 1) / 2  # a tie is half below
    end = 1 / (len(samples) + 1)
    z0 = ndtri(jnp.clip(beyond, end, 1 - end))
    slopes, inverse = -influence.reshape(-1, len(weight)), 1 / jnp.where(weight > 0, weight, 1)
    cubes, squares = _dot(slopes**3, inverse**2), _dot(slopes**2, inverse)
    known = squares > 0  # else nothing moves the quantity
    acceleration = jnp.where(known, cubes, 0) / (6 * jnp.where(known, squares, 1) ** 1.5)
    z = z0[None] + _to(ndtri(tails), estimate)
    return ndtr(z0[None] + z / (1 - acceleration.reshape(1, *estimate.shape) * z))


def _to(ends, one):
    """`[2]`, with axes of size 1 for those of the quantity."""
    return ends.reshape(2, *(1,) * one.ndim).astype(one.dtype)


def _quantile(samples, shares, *, end):
    """Of every entry its own quantile."""
    flat = samples.reshape(len(samples), -1)
    found = jax.vmap(jnp.quantile, (1, 0))(flat, shares[end].reshape(-1))
    return found.reshape(samples.shape[1:])
