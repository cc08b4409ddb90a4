r"""Derivatives of the dual's solution, through its optimality conditions on the free rows.

A row inside its box keeps its slope equal to the intercept, $t_F - K_{F\cdot}\beta = b 1_F$, and a
row on an edge of its box moves with the edge. With $\sum_i\beta_i = 0$ that is a linear system in
the free rows and $b$, and the implicit function theorem differentiates it.

Reference: O. Chapelle, V. Vapnik, O. Bousquet, S. Mukherjee, Choosing multiple parameters for
support vector machines, Machine Learning 46 (2002), section 6.2.
"""

from functools import partial

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Bool, Float
from jaxfound.numerics import dual, kernels

__all__ = ["differentiable", "is_degenerate"]

_LOST = 1e-3  # relative residual of the system beyond which it counts as singular
_dot = partial(jnp.matmul, precision="highest")


def differentiable(
    kernel: kernels.Kernel,
    scales: kernels.Scales,
    x: Float[Array, "n d"],
    problem: dual.Problem,
    beta: Float[Array, " n"],
    intercept: Float[Array, ""],
    slope: Float[Array, " n"],
    gap: Float[Array, ""],
) -> tuple[Float[Array, " n"], Float[Array, ""]]:
    """The same `(beta, intercept)`, with derivatives to `scales`, `x` and `problem`.

    They are NaN where the active set is degenerate (see `is_degenerate`), for there the solution
    has a kink, and where the free rows do not determine the solution. The Gram matrix and the
    system exist only when derivatives are asked for.
    """
    held = jax.lax.stop_gradient((beta, intercept, slope, gap))
    fixed = jax.lax.stop_gradient(problem)
    beta, intercept, slope, gap = held
    free = _free(fixed, beta)
    edge = _edge(problem, beta, slope - intercept)
    target = problem.target
    if problem.epsilon is not None:
        target = target - problem.epsilon * jnp.sign(beta)

    def stationarity(unknowns):
        beta, intercept = unknowns
        moving = jnp.where(free, beta, edge)
        slopes = target - _dot(kernels.matrix(kernel, scales, x, x), moving)
        return jnp.where(free, slopes - intercept, -beta), -moving.sum()

    sound = jnp.where(is_degenerate(fixed, beta, intercept, slope, gap), jnp.nan, 1)
    solve = partial(_solve_tangent, sound.astype(beta.dtype))
    root = jax.lax.custom_root(stationarity, (beta, intercept), lambda _, u: u, solve)
    return jnp.where(free, root[0], edge), root[1]


def is_degenerate(
    problem: dual.Problem,
    beta: Float[Array, " n"],
    intercept: Float[Array, ""],
    slope: Float[Array, " n"],
    gap: Float[Array, ""],
) -> Bool[Array, ""]:
    """Whether no row is free, or one on an edge of its box is about to leave it."""
    free, resolution = _free(problem, beta), float(jnp.finfo(beta.dtype).eps)
    pull = jnp.abs(slope - intercept)
    if problem.epsilon is not None:
        sides = [jnp.abs(slope - intercept + e) for e in (problem.epsilon, -problem.epsilon)]
        pull = jnp.minimum(*sides)
    close = jnp.clip(gap, 16 * resolution, resolution**0.5)
    loose = ~free & (problem.low < problem.high) & (pull <= close)
    return loose.any() | ~free.any()


def _free(problem, beta):
    inside = (beta > problem.low) & (beta < problem.high)
    return inside if problem.epsilon is None else inside & (beta != 0)


def _edge(problem, beta, pull):
    """The edge that a row lies on; of an absent row, the one that it would move with."""
    low, high = problem.low, problem.high
    zero = jnp.zeros((), beta.dtype)
    if problem.epsilon is None:
        up, down = pull > 0, pull <= 0
    else:
        up, down = pull > problem.epsilon, pull < -problem.epsilon
    absent = low == high
    up, down = jnp.where(absent, up, beta >= high), jnp.where(absent, down, beta <= low)
    return jnp.where(up, high, jnp.where(down, low, zero))


def _solve_tangent(sound, linear, right):
    size = right[0].shape[0]

    def column(unit):
        slopes, total = linear((unit[:size], unit[size]))
        return jnp.append(slopes, total)

    flat = jnp.append(*right)
    system = jax.vmap(column)(jnp.eye(size + 1, dtype=flat.dtype))  # symmetric
    found = jnp.linalg.solve(system, flat)
    known = jnp.linalg.solve(system, jnp.ones_like(flat))
    lost = jnp.abs(_dot(system, known) - 1).max()
    found = found * jnp.where(lost < _LOST, sound, jnp.nan)
    return found[:size], found[size]
