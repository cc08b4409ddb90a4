r"""Smooth plus L1: accelerated proximal gradient steps with restarts.

$$\min_\theta f(\theta) + \sum_j t_j |\theta_j|$$

References:
  A. Beck, M. Teboulle, A fast iterative shrinkage-thresholding algorithm for linear inverse
  problems, SIAM J. Imaging Sci. 2 (2009), eq. 4.1-4.3.
  B. O'Donoghue, E. Candès, Adaptive restart for accelerated gradient schemes, Found. Comput.
  Math. 15 (2015), section 3.2.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Float
from jaxfound.numerics.lbfgs import Minimum

__all__ = ["minimise"]


def minimise(
    value_and_grad: Callable[[Array], tuple[Float[Array, ""], Array]],
    start: Float[Array, " m"],
    penalty: Float[Array, " m"],
    rate: Float[Array, " m"],
    *,
    tol: Float[Array, ""],
    max_iter: int,
) -> Minimum:
    """Minimises from `start`.

    Args:
      value_and_grad: the smooth part and its gradient.
      penalty: the weights $t$ of the absolute values.
      rate: the step of each coordinate; with $D$ = diag(1 / rate), $D - \\nabla^2 f$ must be
        positive semidefinite.
      tol: stop when the step, over its rate, has no larger component.
      max_iter: a bound on the gradients.
    """

    def step(state):
        point, ahead, momentum, _, i = state
        _, grad = value_and_grad(ahead)
        moved = ahead - rate * grad
        new = jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - rate * penalty, 0)
        residual = (jnp.abs(ahead - new) / rate).max()
        overshot = ((ahead - new) / rate) @ (new - point) > 0
        momentum = jnp.where(overshot, 1, momentum)
        following = (1 + jnp.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + jnp.where(overshot, 0, (momentum - 1) / following) * (new - point)
        return new, ahead, following, residual, i + 1

    def unfinished(state):
        *_, residual, i = state
        return (residual > tol) & (i < max_iter)

    one, far = jnp.ones((), start.dtype), jnp.asarray(jnp.inf, start.dtype)
    point, _, _, residual, n_iter = jax.lax.while_loop(
        unfinished, step, (start, start, one, far, 0)
    )
    value = value_and_grad(point)[0] + penalty @ jnp.abs(point)
    return Minimum(point, value, residual, jnp.asarray(n_iter), residual <= tol)
