r"""Solves the dual to the true gap: fast kernels first, then careful ones where rounding shows.

Most of the way needs the kernel in float32 only. Its rounding moves the slopes by about
$4\, u\, \rho \|\beta\|_2$, with $u$ that of float32 and $\rho$ what `kernels.rounding` says. Where
this is no longer small beside `tol` (at C = 1000, or at a tight `tol`), the slopes are computed
anew in the widest dtype there is, and the steps that are left are taken with that kernel.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxfound._types import Array, Float, Int
from jaxfound.numerics import dual, interior, kernels
from jaxfound.numerics.dual_blocks import decompose

__all__ = ["Solution", "solve", "whole_gram", "widest"]

_WHOLE_ROWS = 1536  # up to which the Gram matrix is computed once and stays in the cache
_EVEN_ROWS = 64  # multiples that they are padded to: whole registers of a CPU, aligned
_NARROW_TOL = 1e-4  # a float32 kernel is not worth a smaller gap
_VISIBLE = 0.25  # share of `tol` at which rounding counts
_ROUNDINGS = 2.0  # four units: roundings are independent, and the largest of many is meant
_ROUNDS = 4  # of fresh slopes
_SMALL_ROWS = 256  # up to which more digits than asked for are all but free
_SMALL_TOL, _SMALL_STEPS = 1e-10, 100  # the gap that is tried for then, in so many steps a row
_LEAST_STEPS, _STEPS_PER_ROW = 10**6, 1000  # bound on the steps where the caller sets none


class Solution(NamedTuple):
    beta: Float[Array, " n"]
    intercept: Float[Array, ""]
    slope: Float[Array, " n"]  # target - K beta, so that its decision is target - slope + intercept
    gap: Float[Array, ""]
    n_iter: Int[Array, ""]


class _Careful(NamedTuple):
    state: dual.State
    n_rounds: Int[Array, ""]


def widest() -> np.dtype:
    """float64 where it is switched on, else float32."""
    return np.dtype(jax.dtypes.canonicalize_dtype(np.float64))


def whole_gram(
    kernel: kernels.Kernel, scales: kernels.Scales, x: Float[Array, "n d"]
) -> Float[Array, "m m"] | None:
    """What `solve` begins with: problems with the same rows and the same kernel can share it.

    None where there are so many rows that the matrix never exists.
    """
    if x.shape[0] > _WHOLE_ROWS:
        return None
    x = _padded(kernel, x).astype(jnp.float32)
    return kernels.matrix(kernel, scales, x, x)


def solve(
    kernel: kernels.Kernel,
    scales: kernels.Scales,
    x: Float[Array, "n d"],
    shared: Float[Array, "m m"] | None,
    problem: dual.Problem,
    *,
    tol: Float[Array, ""],
    max_iter: int | None,
) -> Solution:
    """Maximises the dual from zero.

    Args:
      kernel: static.
      scales: of the kernel.
      x: rows, with finite values also where the box is `[0, 0]`; shifted towards zero.
      shared: `whole_gram` of them.
      problem: in `widest()`.
      tol: the gap to reach, in `widest()`.
      max_iter: a bound on the steps; None bounds them by the number of rows.

    Returns:
      The solution and the gap that it has, fresh where rounding could have hidden it.
    """
    n = x.shape[0]
    if shared is not None:
        x, more = _padded(kernel, x), len(shared) - n
        problem = jax.tree.map(lambda a: jnp.pad(a, (0, more)) if a.ndim else a, problem)
    bound = max(_LEAST_STEPS, _STEPS_PER_ROW * n) if max_iter is None else max_iter
    run = partial(_run, kernel, scales, problem=problem)
    zero, start = jnp.zeros_like(problem.target), problem.target
    state = dual.State(zero, start, dual.gap(problem, zero, start), jnp.asarray(0, jnp.int32))
    wide, narrow = x.astype(problem.target.dtype), x.astype(jnp.float32)
    most = jnp.asarray(bound, jnp.int32)
    coarse = jnp.maximum(tol, _NARROW_TOL)
    state = run(narrow, state, shared=shared, tol=coarse, max_iter=most)
    state = _refined(kernel, scales, wide, problem, state, run, tol, bound)
    b = dual.intercept(problem, state)
    return Solution(state.beta[:n], b, state.slope[:n], state.gap, state.n_iter)


def _padded(kernel, x):
    """With more rows, so that the steps, which pass over rows of K, take whole registers."""
    missing = -x.shape[0] % _EVEN_ROWS
    more_columns = missing if kernel.name == "precomputed" else 0
    return jnp.pad(x, [(0, missing), (0, more_columns)], mode="edge")


def _run(kernel, scales, x, state, *, problem, tol, max_iter, shared=None):
    if x.shape[0] > _WHOLE_ROWS:
        return decompose(kernel, scales, x, problem, state, tol=tol, max_iter=max_iter)
    matrix = kernels.matrix(kernel, scales, x, x) if shared is None else shared
    state = interior.nearer(matrix, problem, state, tol=tol)
    if matrix.dtype != state.slope.dtype:
        state = _coarse(matrix, problem, state, tol, max_iter)
    state = dual.smo(matrix, problem, state, tol, max_iter)
    return state._replace(gap=dual.gap(problem, state.beta, state.slope))


def _coarse(gram, problem, state, tol, max_iter):
    """The steps in the dtype of the kernel, in which they are faster; fresh slopes behind them."""
    narrow = partial(jax.tree.map, lambda a: a.astype(gram.dtype))
    inside, start = narrow(problem), state._replace(beta=narrow(state.beta))
    start = start._replace(slope=narrow(state.slope), gap=narrow(state.gap))
    found = dual.smo(gram, inside, start, narrow(tol), max_iter)
    # A bound is another number in another dtype, and rounding moves the sum.
    at_bound = jnp.where(found.beta <= inside.low, problem.low, found.beta.astype(tol.dtype))
    beta = jnp.where(found.beta >= inside.high, problem.high, at_bound)
    beta = dual.feasible(beta, problem, state.beta.sum())
    moved = jnp.matmul(gram, narrow(beta - state.beta), precision="highest")
    slope = state.slope - moved.astype(tol.dtype)
    return dual.State(beta, slope, dual.gap(problem, beta, slope), found.n_iter)


def _refined(kernel, scales, x, problem, state, run, tol, bound):
    """Rounds of fresh slopes and careful steps, none where float32 was good enough."""

    small = x.shape[0] <= _SMALL_ROWS

    def is_unsure(state, dtype):
        unit = _ROUNDINGS * float(jnp.finfo(dtype).eps) * kernels.rounding(kernel, scales, x)
        sure = unit * jnp.linalg.norm(state.beta) < _VISIBLE * tol
        return ~sure | ~(state.gap <= tol)

    def one(careful):
        state = careful.state
        # An overflow in float32 leaves nothing to go on with.
        beta = jnp.where(jnp.isfinite(state.beta).all(), state.beta, 0)
        slope = problem.target - kernels.product(kernel, scales, x, x, beta)
        fresh = dual.State(beta, slope, dual.gap(problem, beta, slope), state.n_iter)
        goal, most = tol, jnp.asarray(bound, jnp.int32)
        if small:
            goal = jnp.minimum(tol, max(_SMALL_TOL, 16 * float(jnp.finfo(x.dtype).eps)))
            extra = jnp.minimum(bound, state.n_iter + _SMALL_STEPS * x.shape[0])
            most = jnp.where(fresh.gap > tol, most, extra.astype(jnp.int32))
        return _Careful(run(x, fresh, tol=goal, max_iter=most), careful.n_rounds + 1)

    def go_on(careful):
        state, n = careful
        again = is_unsure(state, x.dtype) & (state.gap >= 0)  # a NaN stays one
        return ((n == 0) | again) & (n < _ROUNDS) & (state.n_iter < bound)

    def rounds(state):
        first = _Careful(state, jnp.asarray(0, jnp.int32))
        return jax.lax.while_loop(go_on, one, first).state

    # A branch, not a loop without rounds: XLA would move the wide kernel out of that, and compute
    # it always.
    return jax.lax.cond(small | is_unsure(state, jnp.float32), rounds, lambda s: s, state)
