r"""The dual of a support vector machine, and sequential minimal optimisation for it.

$$\max_\beta\; t^\top\beta - \epsilon\|\beta\|_1 - \tfrac12 \beta^\top K\beta \quad\text{with}\quad
  \textstyle\sum_i \beta_i = 0,\; l_i \le \beta_i \le h_i$$

Classification is $t = y = \pm1$, $\epsilon = 0$ and a box on one side of zero, so that
$\beta_i = y_i\alpha_i$; regression is $t$ the target and a box about zero. An absent row has the
box $[0, 0]$: its slope is still kept, and gives its decision for free. With the slope
$g = t - K\beta$ the optimum is where no pair can gain: where the largest $g$ that may rise is no
larger than the smallest that may fall. The difference is the *gap*, and `tol` bounds it.

References:
  J. Platt, Fast training of support vector machines using sequential minimal optimization, 1999.
  R.-E. Fan, P.-H. Chen, C.-J. Lin, Working set selection using second order information for
  training support vector machines, JMLR 6 (2005), algorithm 2 and eq. 8 (the gap).
  C.-C. Chang, C.-J. Lin, LIBSVM, 2011, section 4.1.5 (the intercept).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxfound._types import Array, Float, Int
from jaxfound.numerics.branch import one_kernel

__all__ = ["Edges", "Problem", "State", "edges", "feasible", "gap", "intercept", "smo"]

_PARTS = (8, 8)  # of a maximum, and of what is left of it then
_LEAST_CURVATURE = 1e-12  # of a pair: repeated rows have none, and rounding makes it negative


class Problem(NamedTuple):
    target: Float[Array, " n"]
    low: Float[Array, " n"]
    high: Float[Array, " n"]
    epsilon: Float[Array, ""] | None  # None: classification, where the box does not cross zero


class State(NamedTuple):
    beta: Float[Array, " n"]
    slope: Float[Array, " n"]  # target - K beta
    gap: Float[Array, ""]
    n_iter: Int[Array, ""]


class Edges(NamedTuple):
    """What moving one coordinate gains, and how far it may move before that changes."""

    rise: Float[Array, " n"]  # gain of moving up
    fall: Float[Array, " n"]  # loss of gain of moving down
    low: Float[Array, " n"]
    high: Float[Array, " n"]


def edges(problem: Problem, beta: Float[Array, " n"], slope: Float[Array, " n"]) -> Edges:
    """The kink of $\\epsilon|\\beta|$ at zero is one more edge of the box."""
    if problem.epsilon is None:
        return Edges(slope, slope, problem.low, problem.high)
    epsilon, zero = problem.epsilon, jnp.zeros((), beta.dtype)
    return Edges(
        rise=slope - jnp.where(beta >= 0, epsilon, -epsilon),
        fall=slope - jnp.where(beta <= 0, -epsilon, epsilon),
        low=jnp.where(beta > 0, zero, problem.low),
        high=jnp.where(beta < 0, zero, problem.high),
    )


def feasible(
    beta: Float[Array, " n"], problem: Problem, total: Float[Array, ""]
) -> Float[Array, " n"]:
    """`beta` inside the box, and with that sum: free rows take what is missing, if they can."""
    beta = jnp.clip(beta, problem.low, problem.high)
    missing = total - beta.sum()
    # What is no more than rounding must not push rows off their bounds.
    rounding = 8 * jnp.finfo(beta.dtype).eps * jnp.abs(beta).sum()
    missing = jnp.where(jnp.abs(missing) > rounding, missing, 0)
    room = jnp.where(missing > 0, problem.high - beta, beta - problem.low)
    free = jnp.where((beta > problem.low) & (beta < problem.high) & (beta != 0), room, 0)
    room = jnp.where(free.sum() >= jnp.abs(missing), free, room)
    share = missing / jnp.maximum(room.sum(), jnp.finfo(beta.dtype).tiny)
    return jnp.clip(beta + share * room, problem.low, problem.high)


def gap(problem: Problem, beta: Float[Array, " n"], slope: Float[Array, " n"]) -> Float[Array, ""]:
    """By how much the optimality conditions are violated; NaN where the data is."""
    edge = edges(problem, beta, slope)
    rise = jnp.where(beta < edge.high, edge.rise, -jnp.inf).max()
    fall = jnp.where(beta > edge.low, edge.fall, jnp.inf).min()
    return jnp.maximum(rise - fall, 0) + 0 * slope.sum()  # a NaN of a row that is fixed counts


def intercept(problem: Problem, state: State) -> Float[Array, ""]:
    """The slope that free rows share; the middle of what is possible where none is free."""
    edge = edges(problem, state.beta, state.slope)
    may_rise, may_fall = state.beta < edge.high, state.beta > edge.low
    free = may_rise & may_fall & (state.beta != 0)
    rise = jnp.where(may_rise, edge.rise, -jnp.inf).max()
    fall = jnp.where(may_fall, edge.fall, jnp.inf).min()
    rise, fall = jnp.where(rise > -jnp.inf, rise, fall), jnp.where(fall < jnp.inf, fall, rise)
    mean = jnp.where(free, edge.rise, 0).sum() / jnp.maximum(free.sum(), 1).astype(rise.dtype)
    middle = jnp.where(jnp.isfinite(rise), (rise + fall) / 2, 0)
    return jnp.where(free.any(), mean, middle)


def smo(
    gram: Float[Array, "n n"],
    problem: Problem,
    start: State,
    tol: Float[Array, ""],
    max_iter: Int[Array, ""],
) -> State:
    """Moves one pair at a time, the pair that gains most, until the gap is `tol`.

    Args:
      gram: K; it may have a narrower dtype than the slopes.
      problem: the box; its targets are not read.
      start: feasible, its slope in agreement with its `beta`; its gap is not read.
      tol: stops at this gap, and where rounding leaves a pair no way to move.
      max_iter: a bound on the steps.

    Reference: Fan, Chen, Lin 2005, algorithm 2 (WSS 2), for K that need not be definite.
    """
    diagonal = jnp.diagonal(gram).astype(start.slope.dtype)
    box = (problem.low, problem.high, problem.epsilon)
    begin = (start.beta, start.slope, start.n_iter)
    return State(*_steps(gram, diagonal, box, begin, tol, max_iter))


@one_kernel
@jax.jit
def _steps(gram, diagonal, box, begin, tol, max_iter):
    low, high, epsilon = box
    beta, slope, n_iter = begin
    problem = Problem(slope, low, high, epsilon)  # edges do not read the target
    count = jnp.arange(beta.shape[0], dtype=jnp.int32)
    least = jnp.asarray(_LEAST_CURVATURE, beta.dtype)

    def step(carry):
        beta, slope, _, n_iter, _ = carry
        edge = edges(problem, beta, slope)
        rise = jnp.where(beta < edge.high, edge.rise, -jnp.inf)
        best = _largest(rise)
        i = _index(rise == best, count)
        row_i = _at(gram, i).astype(slope.dtype)
        gain = jnp.where(beta > edge.low, best - edge.fall, 0)
        gain = jnp.where(gain > 0, gain, 0)
        curvature = jnp.maximum(_at(diagonal, i) + diagonal - 2 * row_i, least)
        score = gain * gain / curvature
        j = _index(score == _largest(score), count)
        row_j = _at(gram, j).astype(slope.dtype)
        gain_j = _at(gain, j)
        # Only a pair that gains little leaves it open whether the gap is larger than tol.
        here = jax.lax.cond(gain_j > tol, lambda: gain_j, lambda: _largest(gain))
        wish = jnp.where(here > tol, gain_j / _at(curvature, j), 0)
        new_i, new_j = _moved(_at(beta, i), _at(beta, j), _at(edge.high, i), _at(edge.low, j), wish)
        # The rounded change, not the wish: the slope must agree with beta as it is stored.
        up, down = new_i - _at(beta, i), new_j - _at(beta, j)
        slope = slope - (up * row_i + down * row_j)
        beta = _put(_put(beta, i, new_i), j, new_j)
        going = (here > tol) & ((up != 0) | (down != 0))
        return beta, slope, here, n_iter + going.astype(n_iter.dtype), going

    def go_on(carry):
        return carry[4] & (carry[3] < max_iter)

    carry = (beta, slope, jnp.full_like(tol, jnp.inf), n_iter, jnp.asarray(True))
    return jax.lax.while_loop(go_on, step, carry)[:4]


def _largest(values: Float[Array, " n"]) -> Float[Array, ""]:
    """The maximum, by parts: an elementwise maximum is vectorised on a CPU, a reduction is not."""
    return _over_parts(values, lambda a, b: jax.lax.select(a > b, a, b), -np.inf)


def _index(mask, count):
    # The last true index; several times as fast as `argmax`.
    return _over_parts(jnp.where(mask, count, 0), jnp.maximum, 0)


def _over_parts(values, larger, least):
    for parts in _PARTS:
        padded = jnp.pad(values, (0, -values.shape[0] % parts), constant_values=least)
        values = functools.reduce(larger, padded.reshape(parts, -1))
    return values.max()


def _moved(beta_i, beta_j, high, low, wish):
    # The end of the room is hit exactly: a rounded sum would leave a row free that is not.
    room_i, room_j = high - beta_i, beta_j - low
    step = jnp.minimum(wish, jnp.minimum(room_i, room_j))
    return (
        jnp.where(step >= room_i, high, beta_i + step),
        jnp.where(step >= room_j, low, beta_j - step),
    )


def _at(values, i):
    return jax.lax.dynamic_index_in_dim(values, i, keepdims=False)


def _put(values, i, value):
    return jax.lax.dynamic_update_index_in_dim(values, value, i, 0)
