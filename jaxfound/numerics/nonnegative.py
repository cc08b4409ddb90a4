r"""Quadratic programs with non-negative variables, by projected Newton steps.

$$\min_{\beta \ge 0} \tfrac12 \beta^\top G \beta - c^\top \beta$$

Each step takes the Newton direction in the coordinates that are free, projects it on the bound,
and halves it until the value falls.

Reference: D. Bertsekas, Projected Newton methods for optimization problems with simple
constraints, SIAM J. Control Optim. 20 (1982), eq. 32-37.
"""

from functools import partial

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Float
from jaxfound.numerics import lapack
from jaxfound.numerics.lbfgs import Minimum

__all__ = ["minimise"]

_HALVINGS = 30
_dot = partial(jnp.matmul, precision="highest")


def minimise(gram: Float[Array, "d d"], linear: Float[Array, " d"], *, max_iter: int) -> Minimum:
    """Solves the program above; `residual` is the largest violation of optimality.

    The iteration that finds nothing left to move is the one that confirms the solution, so a
    result is converged only if `max_iter` left room for it.
    """
    d = linear.size
    scale = jnp.sqrt(jnp.maximum(jnp.diagonal(gram), 0))
    scale = jnp.where(scale > 0, scale, 1)
    gram, linear = gram / jnp.outer(scale, scale), linear / scale  # unit columns: one tolerance
    tol = 1e2 * jnp.finfo(gram.dtype).eps * jnp.maximum(jnp.abs(linear).max(), 1e-30)
    jitter = 10 * d * jnp.finfo(gram.dtype).eps * jnp.eye(d, dtype=gram.dtype)

    def value(beta):
        return _dot(beta, _dot(gram, beta) / 2 - linear)

    def step(state):
        beta, _, i = state
        slope = _dot(gram, beta) - linear
        free = (beta > 0) | (slope < 0)
        both = free[:, None] & free[None]
        # Bound coordinates get a unit row, which leaves them out of the Newton system.
        system = jnp.where(both, gram, 0) + jitter + jnp.diag(jnp.where(free, 0.0, 1.0))
        lower = lapack.cholesky(system.astype(gram.dtype))
        direction = lapack.cho_solve(lower, jnp.where(free, slope, 0))
        sizes = jnp.exp2(-jnp.arange(_HALVINGS, dtype=gram.dtype))
        tries = jnp.maximum(beta[None] - sizes[:, None] * direction[None], 0)
        values = jax.vmap(value)(tries)
        better = values < value(beta)
        new = jnp.where(better.any(), tries[jnp.argmax(better)], beta)
        return new, _violation(gram, linear, new), i + 1

    def unfinished(state):
        _, violation, i = state
        return ((violation > tol) | (i < 2)) & (i < max_iter)

    zero = jnp.zeros_like(linear)
    start = (zero, _violation(gram, linear, zero), 0)
    beta, violation, n_iter = jax.lax.while_loop(unfinished, step, start)
    converged = (violation <= jnp.sqrt(tol)) & (n_iter > 1)
    return Minimum(beta / scale, value(beta), violation, jnp.asarray(n_iter), converged)


def _violation(gram, linear, beta):
    slope = _dot(gram, beta) - linear
    return jnp.abs(jnp.where(beta > 0, slope, jnp.minimum(slope, 0))).max()
