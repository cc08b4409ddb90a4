r"""Conjugate gradients on the normal equations, two products with X an iteration, no Gram matrix.

Reference: Å. Björck, Numerical Methods for Least Squares Problems (1996), algorithm 7.4.1 (CGLS).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Bool, Float, Int

__all__ = ["Minimum", "least_squares"]

_dot = partial(jnp.matmul, precision="highest")


class Minimum(NamedTuple):
    coef: Float[Array, "d k"]
    residual: Float[Array, " k"]  # norm of the gradient over that at zero
    n_iter: Int[Array, ""]
    converged: Bool[Array, ""]


def least_squares(
    x: Float[Array, "n d"],
    y: Float[Array, "n k"],
    weight: Float[Array, " n"],
    ridge: Float[Array, "*d"],
    x_mean: Float[Array, " d"],
    y_mean: Float[Array, " k"],
    *,
    tol: Float[Array, ""],
    max_iter: int,
) -> Minimum:
    r"""Minimises $\sum_i w_i \|y_i - \bar y - (x_i - \bar x)^\top\beta\|^2 + \lambda\|\beta\|^2$.

    From zero, so that a singular design gives its minimum-norm solution.

    Args:
      x: absent rows hold zeros.
      x_mean, y_mean: the weighted means; zeros without an intercept.
      tol: stop when the gradient has shrunk by this factor.
    """
    ridge = jnp.broadcast_to(ridge, x.shape[1:])[:, None]

    def forward(p):
        return _dot(x, p) - _dot(x_mean, p)[None]

    def backward(r):
        r = weight[:, None] * r
        return _dot(x.T, r) - jnp.outer(x_mean, r.sum(0))

    def step(state):
        coef, slope, direction, size, i = state
        image = forward(direction)
        curvature = (weight[:, None] * image**2).sum(0) + (ridge * direction**2).sum(0)
        move = jnp.where(curvature > 0, size / _safe(curvature), 0)
        coef = coef + move[None] * direction
        slope = slope - move[None] * (backward(image) + ridge * direction)
        new = (slope**2).sum(0)
        direction = slope + (new / _safe(size))[None] * direction
        return coef, slope, direction, new, i + 1

    slope = backward(y - y_mean[None])
    first = (slope**2).sum(0)
    goal = tol**2 * first

    def unfinished(state):
        *_, size, i = state
        return (size > goal).any() & (i < max_iter)

    zero = jnp.zeros_like(slope)
    coef, _, _, size, n_iter = jax.lax.while_loop(unfinished, step, (zero, slope, slope, first, 0))
    residual = jnp.sqrt(size / _safe(first))
    return Minimum(coef, residual, jnp.asarray(n_iter), (size <= goal).all())


def _safe(value):
    return jnp.where(value > 0, value, 1)
