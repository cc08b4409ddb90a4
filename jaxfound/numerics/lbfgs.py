r"""Limited-memory BFGS: one evaluation a trip of one loop, so that lanes of a `vmap` keep in step.

The inverse Hessian is $H = \gamma I$, corrected by the last steps $S$ and the changes $Y$ of the
gradient along them. With $R$ the upper triangle of $S^\top Y$ and $D$ its diagonal,

$$H g = \gamma g + S R^{-\top}\bigl((D + \gamma Y^\top Y) R^{-1} S^\top g - \gamma Y^\top g\bigr)
  - \gamma Y R^{-1} S^\top g$$

A step ends where the weak Wolfe conditions hold, which a bracket finds.

Reference: J. Nocedal, S. Wright, Numerical Optimization, 2nd ed., eq. 7.24; A. Lewis, M. Overton,
Nonsmooth optimization via quasi-Newton methods, Math. Programming 141 (2013), algorithm 2.6.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxfound._types import Array, Bool, Float, Int
from jaxfound.numerics.branch import where

__all__ = ["Minimum", "largest", "minimise"]

_STEPS = 10  # that are remembered
_FLAT = 16  # a step that gains less than this many roundings of the value is the last one
_LEAST_GAIN, _LEAST_BEND = 1e-4, 0.9  # of the slope, by the Wolfe conditions
_TRIALS = 30  # of a step's length
_dot = partial(jnp.matmul, precision="highest")


class Minimum(NamedTuple):
    """What an iterative solver found, and why it stopped."""

    params: Any
    value: Float[Array, ""]
    residual: Float[Array, ""]  # the largest partial derivative
    n_iter: Int[Array, ""]
    converged: Bool[Array, ""]


class _Memory(NamedTuple):
    """The last steps, the newest last; those that are not there yet are zero."""

    steps: Float[Array, "m p"]  # S
    bends: Float[Array, "m p"]  # Y
    inverse: Float[Array, "m m"]  # of R, upper triangular
    diagonal: Float[Array, " m"]  # D
    squares: Float[Array, "m m"]  # Y'Y
    scale: Float[Array, ""]  # gamma


class _Point(NamedTuple):
    at: Float[Array, " p"]
    value: Float[Array, ""]
    grad: Float[Array, " p"]


class _Bracket(NamedTuple):
    """Lengths of a step: `low` is too short, `high` too long, and the slopes there."""

    low: Float[Array, ""]
    low_slope: Float[Array, ""]
    high: Float[Array, ""]  # infinite as long as none was
    high_slope: Float[Array, ""]
    length: Float[Array, ""]  # the next to try
    trials: Int[Array, ""]


class _State(NamedTuple):
    point: _Point
    direction: Float[Array, " p"]
    slope: Float[Array, ""]  # along it
    left: Float[Array, ""]  # the residual at the point
    bracket: _Bracket
    memory: _Memory
    n_iter: Int[Array, ""]
    flat: Bool[Array, ""]  # the last step gained nothing
    done: Bool[Array, ""]


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
      start: a tree of arrays of one dtype.
      tol: stop when no partial derivative is larger, or when the value no longer falls.
      max_iter: a bound on the iterations.
      size: what `tol` bounds, from the gradient; its largest component if not given.
    """
    flat_start, unravel = ravel_pytree(start)

    def evaluate(at):
        value, grad = value_and_grad(unravel(at))
        return _Point(at, value, ravel_pytree(grad)[0])

    def residual(point):
        return (size or largest)(unravel(point.grad))

    def trip(state):
        point = evaluate(state.point.at + state.bracket.length * state.direction)
        slope = _dot(point.grad, state.direction)
        rounding = jnp.finfo(point.value.dtype).eps * jnp.abs(state.point.value)
        wanted = _LEAST_GAIN * state.bracket.length * state.slope
        falls = point.value <= state.point.value + wanted + rounding
        bent = slope >= _LEAST_BEND * state.slope
        return jax.lax.cond(
            falls & bent,
            lambda: _advance(state, point, rounding, residual(point), tol),
            lambda: _retry(state, slope, falls),
        )

    first = evaluate(flat_start)
    left = residual(first)
    state = _downhill(first, left, jnp.asarray(0), jnp.asarray(False), left <= tol)
    last = jax.lax.while_loop(lambda s: ~s.done & (s.n_iter < max_iter), trip, state)
    value, left = last.point.value, last.left
    finite = jnp.isfinite(value) & jnp.isfinite(left)
    return Minimum(unravel(last.point.at), value, left, last.n_iter, last.done & finite)


def _advance(state, point, rounding, left, tol):
    """The next step, from the point that ends this one."""
    flat = ~(state.point.value - point.value > _FLAT * rounding)
    memory = _remember(state.memory, point.at - state.point.at, point.grad - state.point.grad)
    # One such step may be chance; two in a row are the rounding level.
    done = (left <= tol) | (flat & state.flat)
    direction = -_times_gradient(memory, point.grad)
    return _toward(point, direction, left, memory, state.n_iter + 1, flat, done)


def _retry(state, slope, falls):
    """The same step, longer or shorter; after many trials another direction, and then none."""
    old = state.bracket
    low, low_slope = where(falls, (old.length, slope), (old.low, old.low_slope))
    high, high_slope = where(falls, (old.high, old.high_slope), (old.length, slope))
    bracket = _Bracket(low, low_slope, high, high_slope, old.length, old.trials + 1)

    def again():
        return state._replace(bracket=bracket._replace(length=_between(bracket, state.slope)))

    def afresh():
        return _downhill(state.point, state.left, state.n_iter + 1, jnp.asarray(True), state.flat)

    return jax.lax.cond(bracket.trials < _TRIALS, again, afresh)


def _between(bracket, first_slope):
    """Where the slope would be zero if it were linear, well inside the bracket."""
    low, low_slope, high, high_slope, _, _ = bracket
    beyond = low * first_slope / (first_slope - low_slope)
    beyond = jnp.where(beyond > 0, beyond, jnp.inf).clip(2 * low, 100 * low)
    share = low_slope / (low_slope - high_slope)
    share = jnp.where(high_slope > 0, share, 0.5).clip(0.1, 0.9)
    return jnp.where(jnp.isinf(high), beyond, low + share * (high - low))


def _downhill(point, left, *counts):
    """A first step."""
    return _toward(point, -point.grad, left, _empty(point.grad), *counts)


def _toward(point, direction, left, memory, n_iter, flat, done):
    slope = _dot(direction, point.grad)
    one, zero = jnp.ones_like(slope), jnp.zeros_like(slope)
    bracket = _Bracket(zero, slope, jnp.inf * one, zero, one, jnp.zeros_like(n_iter))
    return _State(point, direction, slope, left, bracket, memory, n_iter, flat, done)


def _empty(like):
    m, p = _STEPS, like.size
    rows, square = jnp.zeros((m, p), like.dtype), jnp.zeros((m, m), like.dtype)
    return _Memory(rows, rows, square, square[0], square, jnp.ones((), like.dtype))


def _remember(memory, step, bend):
    steps, bends = (_push(rows, row) for rows, row in ((memory.steps, step), (memory.bends, bend)))
    along, against = _dot(jnp.stack([steps, bends]), bend)
    product = along[-1]
    # The inverse of a triangle that has one more column, and has lost its first row and column.
    inverse, squares = (
        jnp.pad(old[1:, 1:], ((0, 1), (0, 1))) for old in (memory.inverse, memory.squares)
    )
    column = -_dot(inverse, along) / product
    inverse = inverse.at[:, -1].set(column.at[-1].set(1 / product))
    squares = squares.at[:, -1].set(against).at[-1].set(against)
    diagonal = _push(memory.diagonal, product)
    new = _Memory(steps, bends, inverse, diagonal, squares, product / against[-1])
    # Without a bend there is nothing to learn.
    return where(product > 0, new, memory)


def _push(rows, row):
    return jnp.concatenate([rows[1:], row[None]])


def _times_gradient(memory, grad):
    steps, bends, inverse, diagonal, squares, scale = memory
    along, against = _dot(jnp.stack([steps, bends]), grad)
    solved = _dot(inverse, along)
    inner = diagonal * solved + scale * (_dot(squares, solved) - against)
    return scale * (grad - _dot(solved, bends)) + _dot(_dot(inner, inverse), steps)


def largest(tree: Any) -> Float[Array, ""]:
    """The largest absolute value in a tree."""
    return jnp.stack([jnp.abs(leaf).max() for leaf in jax.tree.leaves(tree)]).max()
