r"""Decomposition of the dual: many pairs are moved inside a block of rows before the others hear.

Where the Gram matrix does not fit the cache, a row of it costs more than a step. A block takes the
rows that violate the optimality conditions most, half of them new and half kept with their rows
of K, solves the problem on them alone, and then brings all slopes up to date in one product.
Memory is O(n q) for blocks of q rows.

References:
  T. Joachims, Making large-scale SVM learning practical, 1998, section 11.2.
  Z. Wen, J. Shi, Q. Li, B. He, J. Chen, ThunderSVM, JMLR 19 (2018), section 2.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Float, Int
from jaxfound.numerics import dual, interior, kernels

__all__ = ["decompose"]

_BLOCK = 256
_INNER_STEPS = 8  # times the block, at most
_INNER_SHARE = 0.03  # of its own gap that a block is solved to
_MOST_BLOCKS = 20_000
_dot = partial(jnp.matmul, precision="highest")


class _Carry(NamedTuple):
    state: dual.State
    kept: Int[Array, " h"]  # the rows that were new last time; n is an empty slot
    rows: Float[Array, "h n"]  # of K, for the kept
    n_blocks: Int[Array, ""]
    n_before: Int[Array, ""]  # steps before this block, to notice that nothing moves any more


def decompose(
    kernel: kernels.Kernel,
    scales: kernels.Scales,
    x: Float[Array, "n d"],
    problem: dual.Problem,
    start: dual.State,
    *,
    tol: Float[Array, ""],
    max_iter: Int[Array, ""],
) -> dual.State:
    """From `start` to a gap of half of `tol`, with the kernel in the dtype of `x`.

    The other half costs a few more blocks and gains a digit of the value. Stops early after
    `max_iter` steps, or where rounding leaves a block nothing to move.
    """
    n, half, tol = x.shape[0], _BLOCK // 2, tol / 2
    first_gap = dual.gap(problem, start.beta, start.slope)
    carry = _Carry(
        start._replace(gap=first_gap),
        kept=jnp.full(half, n, jnp.int32),
        rows=jnp.zeros((half, n), x.dtype),
        n_blocks=jnp.asarray(0, jnp.int32),
        n_before=start.n_iter - 1,
    )

    def go_on(carry):
        state = carry.state
        moved = state.n_iter > carry.n_before
        inside = (carry.n_blocks < _MOST_BLOCKS) & (state.n_iter < max_iter)
        return (state.gap > tol) & moved & inside

    block = partial(_block, kernel, scales, x, problem, tol, max_iter)

    def two(carry):
        # After one block XLA copies the rows of K into the carry; after two they are there already.
        return block(block(carry))

    return jax.lax.while_loop(go_on, two, carry).state


def _block(kernel, scales, x, problem, tol, max_iter, carry):
    state, kept, kept_rows = carry.state, carry.kept, carry.rows
    n = x.shape[0]
    new = _violators(problem, state, kept)
    new_at, kept_at = jnp.minimum(new, n - 1), jnp.minimum(kept, n - 1)
    new_rows = kernels.matrix(kernel, scales, x[new_at], x)
    across = kept_rows[:, new_at]
    gram = jnp.concatenate(
        [
            jnp.concatenate([kept_rows[:, kept_at], across], 1),
            jnp.concatenate([across.T, new_rows[:, new_at]], 1),
        ]
    )
    chosen = jnp.concatenate([kept, new])
    inner, before = _restricted(problem, state, chosen)
    goal = jnp.maximum(_INNER_SHARE * dual.gap(inner, before.beta, before.slope), tol / 2)
    start = interior.nearer(gram, inner, before, tol=goal)
    most = jnp.minimum(max_iter, before.n_iter + _INNER_STEPS * len(chosen))
    found = dual.smo(gram, inner, start, goal, most)
    change = (found.beta - before.beta).astype(x.dtype)
    half = len(kept)
    moved = _dot(change[:half], kept_rows) + _dot(change[half:], new_rows)
    slope = state.slope - moved.astype(state.slope.dtype)
    beta = state.beta.at[chosen].set(found.beta, mode="drop")
    after = dual.State(beta, slope, dual.gap(problem, beta, slope), found.n_iter)
    return _Carry(after, new, new_rows, carry.n_blocks + 1, state.n_iter)


def _violators(problem, state, kept):
    """The rows that gain most by rising, then those by falling, without repeats."""
    n, quarter = state.beta.shape[0], kept.shape[0] // 2
    edge = dual.edges(problem, state.beta, state.slope)
    taken = jnp.zeros(n, bool).at[kept].set(True, mode="drop")
    rising = (state.beta < edge.high) & ~taken
    up = _top(jnp.where(rising, edge.rise, -jnp.inf), quarter)
    taken = taken.at[up].set(True, mode="drop")
    falling = (state.beta > edge.low) & ~taken
    down = _top(jnp.where(falling, -edge.fall, -jnp.inf), quarter)
    return jnp.concatenate([up, down])


def _top(score, size):
    values, index = jax.lax.top_k(score.astype(jnp.float32), size)
    return jnp.where(values > -jnp.inf, index, score.shape[0]).astype(jnp.int32)


def _restricted(problem, state, chosen):
    """The problem on the chosen rows; an empty slot has the box of an absent row."""
    at, real = jnp.minimum(chosen, state.beta.shape[0] - 1), chosen < state.beta.shape[0]

    def cut(values):
        return jnp.where(real, values[at], 0)

    inner = problem._replace(
        target=cut(problem.target), low=cut(problem.low), high=cut(problem.high)
    )
    return inner, state._replace(beta=cut(state.beta), slope=state.slope[at])
