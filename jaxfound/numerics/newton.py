r"""Damped Newton steps for smooth convex functions with a small Hessian."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Bool, Float, Int
from jaxfound.numerics.branch import lane_by_lane, where
from jaxfound.numerics.lbfgs import Minimum

__all__ = ["minimise", "solve_semidefinite"]

_ARMIJO = 1e-4  # share of the predicted decrease that a step must reach


class _State(NamedTuple):
    point: Float[Array, " m"]  # the best so far, with its value, gradient and Hessian
    value: Float[Array, ""]
    grad: Float[Array, " m"]
    step: Float[Array, " m"]  # to subtract; halved while it does not lower the value
    decrease: Float[Array, ""]  # what the linear model promises for it
    n_iter: Int[Array, ""]
    done: Bool[Array, ""]


def minimise(
    derivatives: Callable[[Any], tuple[Float[Array, ""], Any, Any]],
    start: Float[Array, " m"],
    *,
    tol: Float[Array, ""],
    max_iter: int,
    loop: Callable[..., Any] = jax.lax.while_loop,
) -> Minimum:
    """Minimises from `start`; every iteration is one call of `derivatives`.

    Args:
      derivatives: value, gradient `[m]` and Hessian `[m m]` at a point, in one pass over the data.
      tol: stop when no partial derivative is larger. The step from that point is taken still: it
        is free, and squares the error.
      max_iter: a bound on the steps.
      loop: what repeats them; the host where `derivatives` reads the rows from a file.

    Reference: S. Boyd, L. Vandenberghe, Convex Optimization, algorithm 9.5.
    """
    flat = 10 * jnp.finfo(start.dtype).eps

    def iterate(state):
        point = state.point - state.step
        value, grad, hessian = derivatives(point)
        fell = value <= state.value - _ARMIJO * state.decrease + flat * jnp.abs(value)
        step = _solve(hessian, grad)
        better = _State(
            *(point, value, grad, step, grad @ step, state.n_iter + 1),
            done=jnp.abs(grad).max() <= tol,
        )
        half = state._replace(
            step=state.step / 2, decrease=state.decrease / 2, n_iter=state.n_iter + 1
        )
        return where(fell, better, half)

    # An infinite value makes the first call accept the start itself.
    zero, false = jnp.zeros_like(start), jnp.asarray(False)
    far = jnp.asarray(jnp.inf, start.dtype)
    first = _State(start, far, zero, zero, zero[0], jnp.asarray(0), false)
    last = loop(lambda s: ~s.done & (s.n_iter < max_iter), iterate, first)
    return Minimum(
        last.point - last.step, last.value, jnp.abs(last.grad).max(), last.n_iter, last.done
    )


def solve_semidefinite(
    matrix: Float[Array, "m m"], right: Float[Array, " m"]
) -> Float[Array, " m"]:
    """Solves a symmetric system whose matrix may be singular, by a slightly damped Cholesky.

    A matrix without any digits left (saturated probabilities) gives zero: no direction to go.
    """
    scale = jnp.sqrt(jnp.maximum(jnp.diagonal(matrix), jnp.finfo(matrix.dtype).tiny))
    scaled = matrix / jnp.outer(scale, scale)
    damping = 10 * scale.size * jnp.finfo(matrix.dtype).eps * jnp.eye(scale.size, dtype=scale.dtype)
    lower = jnp.linalg.cholesky(scaled + damping)
    solution = jax.scipy.linalg.cho_solve((lower, True), right / scale) / scale
    return jnp.where(jnp.isfinite(solution).all(), solution, 0)


_solve = lane_by_lane(solve_semidefinite)
