r"""Gradient descent on `jax.grad` of a loss, with any optax optimiser, as one compiled scan."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from jaxfound._types import Array, Float

__all__ = ["descend"]


def descend(
    loss: Callable[..., Float[Array, ""]],
    params: Any,
    *data: Any,
    optimizer: optax.GradientTransformation,
    n_steps: int,
) -> tuple[Any, Float[Array, " i"]]:
    r"""Takes `n_steps` steps $\theta \leftarrow \theta - u(\nabla L(\theta))$ of `optimizer`.

    Args:
      loss: `loss(params, *data)`, a scalar.
      params: where to start, any tree.
      *data: passed on to `loss`; by argument, so that new data does not recompile.
      optimizer: for example `optax.sgd(0.1)`.
      n_steps: static.

    Returns:
      The last params, and the loss before each step. The scan is differentiable, so the
      derivative of the result is that of the steps taken, converged or not.
    """

    def step(carry, _):
        params, state = carry
        value, grad = jax.value_and_grad(loss)(params, *data)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes its counters with floats
            updates, state = optimizer.update(grad, state, params)
        return (optax.apply_updates(params, updates), state), value

    start = (params, optimizer.init(params))
    (params, _), trajectory = jax.lax.scan(step, start, length=n_steps)
    return params, trajectory
