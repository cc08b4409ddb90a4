r"""The mean logistic loss over rows, its slope and its Hessian, as sums over rows.

$$\frac1W \sum_i w_i\, \ell(y_i, \theta^\top (x_i - s, 1)) + \frac12 \sum_j \lambda_j \theta_j^2$$

With $\eta$ one score, $\ell = \log(1 + e^\eta) - y \eta$; with one a class,
$\log\sum_k e^{\eta_k} - \eta_y$. The shift $s$ keeps float32 right far from zero.

Reference: C. Bishop, Pattern Recognition and Machine Learning, eq. 4.96, 4.97, 4.109 and 4.110.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Float, Int
from jaxfound.numerics import newton
from jaxfound.numerics.lbfgs import Minimum
from jaxfound.numerics.mesh import shards
from jaxfound.numerics.reduce import ONE_BLOCK, ones_like_rows, present, row_sum

__all__ = [
    "Problem",
    "by_newton",
    "curvature",
    "evaluator",
    "loss",
    "second_order",
    "shifted",
    "transposed",
    "value_and_slope",
]

_dot = partial(jnp.matmul, precision="highest")
_product = partial(jax.lax.dot_general, precision="highest")
_by_class = partial(_product, dimension_numbers=(((0,), (1,)), ((), ())))


class Problem(NamedTuple):
    """The mean loss over rows about a shift: tolerances do not depend on `n` then, and float32
    survives features far from zero. Unknowns are one matrix, the intercept its last row."""

    x: Float[Array, "n d"] | None  # None where the rows are out of core
    y: Any  # int [n], or None
    weight: Float[Array, " n"] | None  # None is all ones
    total: Float[Array, ""]  # of the weights
    shift: Float[Array, " d"]
    l2: Float[Array, "m 1"]  # zero for the intercept
    l1: Float[Array, "m 1"]


def loss(
    scores: Float[Array, "n *k"], weight: Float[Array, " n"], y: Int[Array, " n"]
) -> Float[Array, ""]:
    """The weighted sum of the losses of rows with these scores."""
    return _loss(scores[None] if scores.ndim == 1 else scores.T, weight, y)


def _loss(scores, weight, y):
    """The same of scores `[k n]`: a CPU adds rows up in vectors, but not the classes of a row."""
    if len(scores) == 1:
        eta = scores[0]
        return (weight * (_softplus(eta) - y.astype(eta.dtype) * eta)).sum()
    of_class = y[None] == jnp.arange(len(scores), dtype=y.dtype)[:, None]
    own = jnp.where(of_class, scores, 0).sum(0)
    return (weight * (jax.nn.logsumexp(scores, axis=0) - own)).sum()


def curvature(scores: Float[Array, "k n"]) -> Float[Array, " n"]:
    """The second derivative of each row's loss in its scores, $p(1 - p)$, averaged over them."""
    share = _sigmoid(scores) if len(scores) == 1 else jax.nn.softmax(scores, axis=0)
    return (share * (1 - share)).mean(0)


@jax.custom_jvp
def _softplus(eta):
    """As `jax.nn.softplus`, but one exponential is enough for it and its slope."""
    return jnp.maximum(eta, 0) + jnp.log1p(jnp.exp(-jnp.abs(eta)))


@jax.custom_jvp
def _sigmoid(eta):
    small = jnp.exp(-jnp.abs(eta))
    return jnp.where(eta > 0, 1, small) / (1 + small)


_softplus.defjvps(lambda tangent, _, eta: _sigmoid(eta) * tangent)
_sigmoid.defjvps(lambda tangent, share, _: share * (1 - share) * tangent)


def shifted(x: Float[Array, "n d"], problem: Problem) -> Float[Array, "n m"]:
    """The rows about the shift, and a column of ones if there is an intercept."""
    x, ones = x - problem.shift[None], len(problem.l2) - problem.shift.size
    return jnp.pad(x, ((0, 0), (0, ones)), constant_values=1)


def transposed(rows: Float[Array, "n m"]) -> Float[Array, "m n"]:
    """The features first, in memory too: a compiler would rather turn products around."""
    return jax.lax.optimization_barrier(rows.T)


def _penalised(problem, l2, theta, value, slope):
    value = value / problem.total + (l2 * theta**2).sum() / 2
    return value, slope / problem.total + l2 * theta


def value_and_slope(problem: Problem, theta: Float[Array, "k m"]) -> tuple[Array, Array]:
    """The penalised mean loss and its gradient, both of the unknowns with the classes first."""
    d = problem.shift.size
    coef, offset = theta[:, :d].T, theta[:, d:].sum(1)  # the last column, or zero

    def statistic(w, x, y):
        x = x - problem.shift[None]
        scores = _by_class(coef, x) + offset[:, None]
        value, slope = jax.value_and_grad(_loss)(scores, w, y)
        slopes = _dot(slope, x), slope.sum(1)[:, None]
        return value, jnp.concatenate(slopes if theta.shape[1] > d else slopes[:1], axis=1)

    x: Any = problem.x
    sums = row_sum(statistic, problem.weight, x, problem.y)
    return _penalised(problem, problem.l2.T, theta, *sums)


def evaluator(problem: Problem) -> Callable[[Array], tuple[Array, Array]]:
    """`value_and_slope` of this problem, for many looks at the same rows.

    Few rows are laid out once in both ways: that makes their products with few classes up to three
    times as fast on a CPU.
    """
    x: Any = problem.x
    if shards() > 1 or len(x) > ONE_BLOCK:
        return partial(value_and_slope, problem)
    weight, y = ones_like_rows(x, problem.weight), present(problem.weight, problem.y)
    rows = shifted(present(problem.weight, x), problem)
    columns = transposed(rows)

    def look(theta):
        value, slope = jax.value_and_grad(_loss)(_dot(theta, columns), weight, y)
        return _penalised(problem, problem.l2.T, theta, value, _dot(slope, rows))

    return look


def by_newton(
    problem: Problem,
    sums: Callable[[Array], Any],
    start: Float[Array, "m k"],
    tol: Float[Array, ""],
    *,
    max_iter: int,
    loop: Callable[..., Any] = jax.lax.while_loop,
) -> Minimum:
    """Newton steps; `sums(theta)` adds `second_order(problem, theta, ...)` over all rows."""

    def derivatives(flat):
        theta = flat.reshape(start.shape)
        value, slope, hessian = sums(theta)
        value, slope = _penalised(problem, problem.l2, theta, value, slope)
        ridge = jnp.diag(jnp.broadcast_to(problem.l2, theta.shape).ravel())
        return value, slope.ravel(), hessian / problem.total + ridge

    found = newton.minimise(derivatives, start.ravel(), tol=tol, max_iter=max_iter, loop=loop)
    return found._replace(params=found.params.reshape(start.shape))


def second_order(
    problem: Problem,
    theta: Float[Array, "m k"],
    w: Float[Array, " b"],
    x: Float[Array, "b d"],
    y: Int[Array, " b"],
) -> Any:
    """The loss of a block of rows, its gradient and its Hessian."""
    rows = shifted(x, problem)
    scores = _dot(rows, theta)
    slope_of = jax.value_and_grad(loss)
    value, slope = slope_of(scores, w, y)

    def along(direction):  # X' diag(d slope / d score_k) X, one score k at a time
        bend = jax.jvp(lambda s: slope_of(s, w, y)[1], (scores,), (direction,))[1]
        # Rows last: with rows first, XLA for CUDA finds no tiles for the product.
        bent = rows.T[:, None, :] * bend.T[None]
        return _dot(bent.reshape(theta.size, len(rows)), rows)

    units = jnp.eye(theta.shape[1], dtype=theta.dtype)[:, None, :]
    columns = jax.vmap(along)(jnp.broadcast_to(units, (len(units), *scores.shape)))
    hessian = jnp.moveaxis(columns, 0, -1).reshape(theta.size, theta.size)
    return value, _dot(rows.T, slope), hessian
