r"""PCA of rows that come in batches, equal to that of all rows at once.

What is kept of the rows is their weight, mean and triangular factor,
$R^\top R = \sum_i w_i (x_i - \bar x)(x_i - \bar x)^\top$: at most d rows, whatever has been seen.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Float, Shaped
from jaxfound.models import pca
from jaxfound.numerics import least_squares, principal

__all__ = ["State", "axes", "start", "update", "variance"]


class State(NamedTuple):
    mean: Float[Array, " d"]
    weight: Float[Array, ""]
    triangle: Float[Array, "d d"]


def start(x: Float[Array, "n d"]) -> State:
    """Nothing seen yet."""
    d = x.shape[1]
    return State(jnp.zeros(d, x.dtype), jnp.zeros((), x.dtype), jnp.zeros((d, d), x.dtype))


@jax.jit
def update(
    state: State, x: Float[Array, "n d"], weight: Shaped[Array, " n"] | None = None
) -> State:
    """Adds a batch.

    Args:
      x: one row a sample.
      weight: 0 means that the row is absent, an integer that it is repeated; None is all ones.

    Reference: D. Ross, J. Lim, R.-S. Lin, M.-H. Yang, Incremental learning for robust visual
    tracking, Int. J. Computer Vision 77 (2008), lemma 1 (the row between the means).
    """
    weight = None if weight is None else jnp.asarray(weight, x.dtype)
    mean, amount = principal.mean_and_weight(x, weight)
    mean = jnp.where(amount > 0, mean, state.mean)
    total = state.weight + amount
    share = amount / jnp.where(total > 0, total, 1)
    between = jnp.sqrt(state.weight * share) * (mean - state.mean)
    above = jnp.linalg.qr(jnp.concatenate([state.triangle, between[None]]), mode="r")
    triangle = least_squares.triangle(x, weight, mean, above)
    return State(state.mean + share * (mean - state.mean), total, triangle)


@partial(jax.jit, static_argnames=("k", "whiten"))
def axes(state: State, k: int, *, whiten: bool = False) -> pca.Params:
    """The first `k` principal components of all rows seen."""
    _, singular, vectors = jnp.linalg.svd(state.triangle)
    found = principal.by_singular(state.mean, state.weight, vectors, singular, k)
    return pca.from_axes(found, whiten)


@jax.jit
def variance(state: State) -> Float[Array, " d"]:
    """Of every column, divided by the weight."""
    return (state.triangle**2).sum(0) / state.weight
