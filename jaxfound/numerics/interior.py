r"""An interior point for the dual of a support vector machine: few steps, each a factorisation.

Sequential minimal optimisation takes thousands of small steps one after the other, which is what
accelerators are worst at. Here every row moves in every step, about a dozen steps bring any
problem close to its solution, and a stack of problems takes them in lock step at little cost. The
last digits are left to whoever starts from the answer.

With $\beta = u_+ - u_-$, both in boxes $[0, c]$, the bounds have multipliers $z$ and $w$ and the
sum constraint has $y$. A Newton step on the optimality conditions comes down to one system,

$$(I + R K R)\,s = R^{-1} q - R\,dy, \qquad d\beta = R s, \quad
  R^2 = \Theta_+ + \Theta_-, \quad \Theta = (z/u + w/(c - u))^{-1}$$

whose eigenvalues are at least one. In float64 a dozen steps leave next to nothing to do at any C;
in float32 rounding ends them earlier where C is large.

References:
  S. Mehrotra, On the implementation of a primal-dual interior point method, SIAM J. Optim. 2
  (1992), section 2 (predictor and corrector).
  S. Fine, K. Scheinberg, Efficient SVM training using low-rank kernel representations, JMLR 2
  (2001), section 3 (the reduced system).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Bool, Float, Int
from jaxfound.numerics import dual, lapack
from jaxfound.numerics.branch import where

__all__ = ["approach", "nearer"]

_MOST_STEPS = 40
_TO_EDGE = 0.99  # share of the way to the nearest bound that a step takes
_CLOSE = 1e-3  # times tol: complementarity at which to stop
_LEAST_SHARE = 1e-4  # of a step, below which nothing moves
_SPOILT = 30  # times the best measure: rounding has taken over
_dot = partial(jnp.matmul, precision="highest")


class _Point(NamedTuple):
    """The halves of beta, rising and falling, and the multipliers of their bounds."""

    u: Float[Array, "2 n"]
    z: Float[Array, "2 n"]  # of u >= 0
    w: Float[Array, "2 n"]  # of u <= c
    y: Float[Array, ""]


class _Box(NamedTuple):
    """The problem as the steps read it."""

    gram: Float[Array, "n n"]
    target: Float[Array, " n"]
    epsilon: Float[Array, ""]
    c: Float[Array, "2 n"]
    total: Float[Array, ""]  # what beta sums to
    real: Bool[Array, "2 n"]  # halves that can move


class _Carry(NamedTuple):
    point: _Point
    best: _Point  # rounding spoils the multipliers in the end
    measure: Float[Array, ""]  # of what the best leaves to do, in units of the slope
    n_iter: Int[Array, ""]
    going: Bool[Array, ""]


def nearer(
    gram: Float[Array, "n n"],
    problem: dual.Problem,
    state: dual.State,
    *,
    tol: Float[Array, ""],
) -> dual.State:
    """`state`, close to the solution where many small steps would be slow: not on a CPU."""
    return jax.lax.platform_dependent(
        gram, problem, state, tol, cpu=lambda gram, problem, state, tol: state, default=approach
    )


def approach(
    gram: Float[Array, "n n"], problem: dual.Problem, state: dual.State, tol: Float[Array, ""]
) -> dual.State:
    """A feasible state near the solution, rows at their bounds where they seem to belong there.

    Args:
      gram: K.
      problem: the box and the targets; its dtype is what the steps are computed in.
      state: feasible; where nothing better is found it is given back. Its sum stays.
      tol: the gap that is wanted in the end.
    """
    gram = gram.astype(state.slope.dtype)
    # The targets if these were all rows there are.
    target = state.slope + _dot(gram, state.beta)
    box = _box(gram, problem._replace(target=target), state.beta.sum())
    start, none = _start(box), jnp.asarray(0, jnp.int32)
    carry = _Carry(start, start, jnp.full_like(tol, jnp.inf), none, jnp.asarray(True))

    def go_on(carry):
        return carry.going & (carry.measure > _CLOSE * tol) & (carry.n_iter < _MOST_STEPS)

    found = jax.lax.while_loop(go_on, partial(_step, box), carry)
    beta = dual.feasible(_snapped(box, found.best, problem), problem, box.total)
    slope = state.slope - _dot(gram, beta - state.beta)
    better = _value(box, beta, slope) > _value(box, state.beta, state.slope)
    after = dual.State(beta, slope, dual.gap(problem, beta, slope), state.n_iter + found.n_iter)
    return where(better, after, state)


def _value(box, beta, slope):
    """The dual objective."""
    return _dot(beta, box.target + slope) / 2 - box.epsilon * jnp.abs(beta).sum()


def _box(gram, problem, total):
    c = jnp.maximum(jnp.stack([problem.high, -problem.low]), 0)
    epsilon = jnp.zeros((), c.dtype) if problem.epsilon is None else problem.epsilon
    return _Box(gram, problem.target, epsilon, c, total, c > 0)


def _start(box):
    # No further than a row alone would go, whatever its box.
    u = box.c / (2 + box.c * jnp.diagonal(box.gram).mean())
    pull = _pull(box, u, jnp.zeros((), u.dtype))
    least = jnp.maximum(1, jnp.abs(pull).mean())
    z = jnp.full_like(u, least)
    w = least * _over(box, u, box.c - u)
    return _Point(u, z, w, jnp.zeros((), u.dtype))


def _pull(box, u, y):
    """The slope of the Lagrangian in u, without the multipliers of the bounds."""
    images = _dot(box.gram, _beta(u)) + y - box.target
    return jnp.stack([images, -images]) + box.epsilon


def _step(box, carry):
    point = carry.point
    u, z, w, _ = point
    room = box.c - u
    theta = _where(box, 1 / (_over(box, z, u) + _over(box, w, room)))
    root = jnp.sqrt(theta.sum(0))
    rooted = root[:, None] * box.gram * root[None] + jnp.eye(len(root), dtype=root.dtype)
    solve = partial(_direction, box, point, theta, root, lapack.cholesky(rooted))
    ahead = solve(_where(box, -u * z), _where(box, -room * w))
    share = jnp.minimum(1, _room(box, point, ahead))
    now = _complementarity(box, point)
    then = _complementarity(box, _moved(point, ahead, share))
    centre = now * (then / now) ** 3
    step = solve(
        _where(box, centre - u * z - ahead.u * ahead.z),
        _where(box, centre - room * w + ahead.u * ahead.w),
    )
    share = jnp.minimum(1, _TO_EDGE * _room(box, point, step))
    after = _moved(point, step, share)
    measure = _measure(box, after)  # NaN is never better, and ends the loop
    better = measure < carry.measure
    best = where(better, after, carry.best)
    going = (measure < _SPOILT * carry.measure) & (share > _LEAST_SHARE)
    return _Carry(after, best, jnp.where(better, measure, carry.measure), carry.n_iter + 1, going)


def _direction(box, point, theta, root, lower, z_goal, w_goal):
    """The Newton step towards `u z = ` and `(c - u) w = ` what they are and the goals besides."""
    u, z, w, y = point
    room = box.c - u
    wish = z - w - _pull(box, u, y) + _over(box, z_goal, u) - _over(box, w_goal, room)
    q = _beta(theta * wish)
    sides = jnp.stack([jnp.where(root > 0, q / jnp.where(root > 0, root, 1), 0), root], 1)
    by_wish, by_sum = lapack.cho_solve(lower, sides).T
    surplus = _beta(u).sum() - box.total
    y_step = (_dot(root, by_wish) + surplus) / _dot(root, by_sum)
    change = _dot(box.gram, root * (by_wish - y_step * by_sum)) + y_step
    u_step = theta * (wish - jnp.stack([change, -change]))
    z_step = _over(box, z_goal - z * u_step, u)
    w_step = _over(box, w_goal + w * u_step, room)
    return _Point(u_step, z_step, w_step, y_step)


def _moved(point, step, share):
    return jax.tree.map(lambda a, b: a + share * b, point, step)


def _room(box, point, step):
    """How far a step may go, in its own length, before a bound or a multiplier is zero."""

    def until_zero(values, change):
        ends = jnp.where(change < 0, -values / jnp.where(change < 0, change, -1), jnp.inf)
        return jnp.where(box.real, ends, jnp.inf).min()

    parts = (
        (point.u, step.u),
        (box.c - point.u, -step.u),
        (point.z, step.z),
        (point.w, step.w),
    )
    return jnp.stack([until_zero(*part) for part in parts]).min()


def _complementarity(box, point):
    products = _where(box, point.u * point.z + (box.c - point.u) * point.w)
    return products.sum() / (2 * jnp.maximum(box.real.sum(), 1).astype(products.dtype))


def _measure(box, point):
    """The multipliers of a row of average size, or what multipliers do not explain of a slope."""
    unexplained = _where(box, _pull(box, point.u, point.y) - point.z + point.w)
    size = _where(box, point.u).sum() / jnp.maximum(box.real.sum(), 1).astype(point.u.dtype)
    return jnp.maximum(_complementarity(box, point) / size, jnp.abs(unexplained).mean())


def _snapped(box, point, problem):
    """Rows that the multipliers hold at a bound are put there."""
    # How much the slope would change on the way to the bound, and what holds the row there.
    curvature = jnp.diagonal(box.gram).mean()
    low, high = point.u * curvature < point.z, (box.c - point.u) * curvature < point.w
    u = jnp.where(low, 0, point.u)
    beta = jnp.where(high[0], problem.high, u[0]) - jnp.where(high[1], -problem.low, u[1])
    return jnp.where(box.real.any(0), beta, 0)


def _beta(halves):
    return halves[0] - halves[1]


def _over(box, a, b):
    return jnp.where(box.real, a / jnp.where(box.real, b, 1), 0)


def _where(box, values):
    return jnp.where(box.real, values, 0)
