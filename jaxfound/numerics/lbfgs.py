r"""Limited-memory BFGS: optax's updates and line search in a loop that says why it stopped."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxfound._types import Array, Bool, Float, Int

__all__ = ["Minimum", "largest", "minimise"]

_FLAT = 16  # a step that gains less than this many roundings of the value is the last one


class Minimum(NamedTuple):
    """What an iterative solver found, and why it stopped."""

    params: Any
    value: Float[Array, ""]
    residual: Float[Array, ""]  # the largest partial derivative
    n_iter: Int[Array, ""]
    converged: Bool[Array, ""]


def minimise(
    value_and_grad: Callable[[Any], tuple[Float[Array, ""], Any]],
    start: Any,
    *,
    tol: Float[Array, ""],
    max_iter: int,
    size: Callable[[Any], Float[Array, ""]] | None = None,
) -> Minimum:
    """Minimises a smooth function from `start`.

    Args:
      value_and_grad: the function and its gradient in one pass over the data.
      tol: stop when no partial derivative is larger, or when the value no longer falls.
      max_iter: a bound on the iterations.
      size: what `tol` bounds, from the gradient; its largest component if not given.

    Reference: D. Liu, J. Nocedal, On the limited memory BFGS method, Math. Programming 45 (1989).
    """

    size = size or largest

    @jax.custom_vjp
    def function(params):
        return value_and_grad(params)[0]

    # optax differentiates the function; this hands it the gradient of the same single pass.
    function.defvjp(value_and_grad, lambda grad, cotangent: (_scale(cotangent, grad),))
    solver = optax.lbfgs()
    reuse: Any = optax.value_and_grad_from_state(function)

    def step(carry):
        params, before, grad = carry.params, carry.value, carry.grad
        # optax counts in int32 and int64 side by side where float64 is on.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = solver.update(
                grad, carry.state, params, value=before, grad=grad, value_fn=function
            )
        params = optax.apply_updates(params, updates)
        value, grad = reuse(params, state=state)
        gain, rounding = before - value, jnp.finfo(value.dtype).eps * jnp.abs(before)
        flat = ~(gain > _FLAT * rounding)
        # One such step may be a line search that gave up; two in a row are the rounding level.
        done = (size(grad) <= tol) | (flat & carry.flat)
        new = _State(params, value, grad, state, carry.n_iter + 1, flat, done)
        # A line search may give up at a higher value, or at none: start afresh from the last point.
        back = carry._replace(state=memory, n_iter=new.n_iter, flat=flat, done=carry.flat)
        risen = ~(gain >= -_FLAT * rounding)
        return jax.tree.map(lambda b, n: jnp.where(risen, b, n), back, new)

    value, grad = value_and_grad(start)
    memory, never = solver.init(start), jnp.asarray(False)
    first = _State(start, value, grad, memory, jnp.asarray(0), never, size(grad) <= tol)
    last = jax.lax.while_loop(lambda s: ~s.done & (s.n_iter < max_iter), step, first)
    residual = size(last.grad)
    finite = jnp.isfinite(last.value) & jnp.isfinite(residual)
    return Minimum(last.params, last.value, residual, last.n_iter, last.done & finite)


class _State(NamedTuple):
    params: Any
    value: Float[Array, ""]
    grad: Any
    state: Any
    n_iter: Int[Array, ""]
    flat: Bool[Array, ""]  # the last step gained nothing
    done: Bool[Array, ""]


def largest(tree: Any) -> Float[Array, ""]:
    """The largest absolute value in a tree."""
    return jnp.stack([jnp.abs(leaf).max() for leaf in jax.tree.leaves(tree)]).max()


def _scale(factor, tree):
    return jax.tree.map(lambda leaf: factor * leaf, tree)
