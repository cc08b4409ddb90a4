r"""Derivatives of a fit from its objective alone, whatever solver ran.

At a minimum $\nabla_\theta F(\theta^*, a) = 0$, so the implicit function theorem gives
$\partial\theta^*/\partial a = -(\nabla^2_\theta F)^{-1}\, \partial_a \nabla_\theta F$.

Reference: M. Blondel et al., Efficient and modular implicit differentiation, NeurIPS 2022, eq. 2.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxfound._types import Array, Float

__all__ = ["minimum", "pseudo_solve", "with_derivatives_of"]


def minimum(
    objective: Callable[..., Float[Array, ""]],
    solve: Callable[..., tuple[Any, Any]],
    *args: Any,
    free: Callable[[Any], Any],
) -> tuple[Any, Any]:
    """Runs `solve(*args)` and gives its params the derivatives of the minimiser of `objective`.

    Args:
      objective: `objective(params, *args)`, smooth in its free coordinates at the minimum.
      solve: returns `(params, info)`; never differentiated, so it may hold loops and square roots.
      *args: what derivatives are taken with respect to.
      free: maps params to the mask of coordinates that may move; the others sit on a bound, on a
        kink or are held, and do not move for a small change of `args`.

    Returns:
      `(params, info)`. Where the Hessian is singular the derivative is that of its
      pseudo-inverse: right for directions that do not matter (a softmax shift), and without
      meaning for a rank-deficient design.
    """

    def stationarity(params):
        mask = jax.lax.stop_gradient(free(params))
        moving = jax.tree.map(lambda m, p: jnp.where(m, p, 0), mask, params)
        slope = jax.grad(objective)(moving, *args)
        return jax.tree.map(jnp.where, mask, slope, params)

    params, info = jax.lax.stop_gradient(solve(*jax.lax.stop_gradient(args)))
    return jax.lax.custom_root(stationarity, params, lambda _, p: p, _solve_tangent), info


def with_derivatives_of(plain: Callable[..., Any], fast: Callable[..., Any]) -> Callable[..., Any]:
    """The function `fast`, differentiated as `plain`, which computes the same more slowly."""
    function = jax.custom_jvp(fast)

    @function.defjvp
    def _(primals, tangents):
        return fast(*primals), jax.jvp(plain, primals, tangents)[1]

    return function


def pseudo_solve(matrix: Float[Array, "m m"], right: Float[Array, " m"]) -> Float[Array, " m"]:
    """Minimum-norm solution of a symmetric system, by eigenvalues."""
    values, vectors = jnp.linalg.eigh(matrix)
    size = jnp.abs(values)
    cutoff = matrix.shape[0] * jnp.finfo(matrix.dtype).eps * size.max()
    inverse = jnp.where(size > cutoff, 1 / jnp.where(size > cutoff, values, 1), 0)
    rotated = jnp.matmul(vectors.T, right, precision="highest")
    return jnp.matmul(vectors, inverse * rotated, precision="highest")


def _solve_tangent(linear, right):
    flat, unravel = ravel_pytree(right)
    columns = jax.vmap(lambda v: ravel_pytree(linear(unravel(v)))[0])
    hessian = columns(jnp.eye(flat.size, dtype=flat.dtype))
    return unravel(pseudo_solve((hessian + hessian.T) / 2, flat))
