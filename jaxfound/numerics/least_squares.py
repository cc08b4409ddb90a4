r"""Weighted linear least squares, plain or with a ridge, right at any conditioning.

$$\min_{\beta, b} \sum_i w_i \|y_i - x_i^\top \beta - b\|^2 + \sum_j \lambda_j \|\beta_j\|^2$$

`cholesky` factors the Gram matrix of one blocked pass. Where that loses digits, the solution is
refined: residuals in extended precision, corrections through the factor (corrected seminormal
equations). `svd` takes the factor from an orthogonal triangularisation, which sees the condition
number once instead of squared, and drops directions below the rounding level: the minimum-norm
solution of a singular design. `auto` starts with `cholesky` and turns to `svd` where it must.

References:
  Å. Björck, Stability analysis of the method of seminormal equations for linear least squares
  problems, Linear Algebra Appl. 88/89 (1987), section 3.
  G. Golub, C. Van Loan, Matrix Computations, 4th ed., sections 5.3 and 5.5.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Bool, Float, Int
from jaxfound.numerics import lapack
from jaxfound.numerics.branch import cond_per_lane, where
from jaxfound.numerics.compensated import product, total, two_sum
from jaxfound.numerics.mesh import per_shard, shards
from jaxfound.numerics.moments import Moments, moments
from jaxfound.numerics.reduce import (
    ones_like_rows,
    present,
    row_fold,
    row_sum,
)

__all__ = [
    "SMALL",
    "Cholesky",
    "Factor",
    "Solution",
    "direct",
    "extended_sums",
    "factorise",
    "ill_conditioned",
    "orthogonal_factor",
    "refine",
    "seminormal",
    "solve",
    "triangle",
]

_MOST_LOST = 1e-4  # relative error of a Cholesky factor that refinement still mends quickly
SMALL = 2**14  # elements of a problem on which refinement costs nothing: it is always done
_MAX_REFINEMENTS = 20
_dot = partial(jnp.matmul, precision="highest")


class Solution(NamedTuple):
    coef: Float[Array, "d k"]
    intercept: Float[Array, " k"]
    moments: Moments
    condition: Float[Array, ""]  # of the column-scaled design, with its ridge rows
    rank: Int[Array, ""]
    residual: Float[Array, ""]  # what the last correction changed, relative to the spread of y
    orthogonal: Bool[Array, ""]  # whether the `svd` path gave the answer


class _Problem(NamedTuple):
    x: Float[Array, "n d"]
    y: Float[Array, "n k"]
    weight: Float[Array, " n"] | None  # None is all ones
    ridge: Float[Array, "*d"]
    moments: Moments


class Factor(NamedTuple):
    """$(X^\\top W X + \\Lambda)^+ = P P^\\top$."""

    root: Float[Array, "d r"]
    condition: Float[Array, ""]
    rank: Int[Array, ""]
    orthogonal: Bool[Array, ""]


class Cholesky(NamedTuple):
    """$S L L^\\top S = X^\\top W X + \\Lambda$, with $S$ the column norms."""

    lower: Float[Array, "d d"]
    scale: Float[Array, " d"]
    condition: Float[Array, ""]


def solve(
    x: Float[Array, "n d"],
    y: Float[Array, "n k"],
    weight: Float[Array, " n"] | None,
    ridge: Float[Array, "*d"],
    *,
    fit_intercept: bool,
    solver: str,
) -> Solution:
    """Solves the problem above in closed form.

    Args:
      ridge: one penalty for all columns, or one a column.
      solver: "cholesky", "svd" or "auto".
    """
    n, d = x.shape
    known = moments(x, y, weight, centre=fit_intercept)

    def refined(problem, factor):
        gradient = partial(_extended_gradient, problem)
        return refine(problem.moments, problem.ridge, factor, gradient, fit_intercept=fit_intercept)

    if solver == "svd" or (solver == "auto" and n <= d):
        problem = _Problem(x, y, weight, ridge, known)
        thin = n <= d and ridge.ndim == 0  # then no d x d matrix is formed
        return refined(problem, _thin(problem) if thin else _orthogonal(problem))

    problem = _Problem(x, y, weight, jnp.broadcast_to(ridge, (d,)), known)
    cholesky = factorise(known, problem.ridge)
    ill, lost = ill_conditioned(cholesky)

    def careful(problem, cholesky, lost):
        factor = seminormal(cholesky)
        if solver == "auto":
            factor = cond_per_lane(
                lost, lambda p, _: _orthogonal(p), lambda _, f: f, problem, factor
            )
        return refined(problem, factor)

    if x.size * y.shape[1] <= SMALL:
        return careful(problem, cholesky, lost)

    def plain(problem, cholesky, _):
        return direct(problem.moments, cholesky)

    return cond_per_lane(ill, careful, plain, problem, cholesky, lost)


def triangle(
    x: Float[Array, "n d"],
    weight: Float[Array, " n"] | None,
    mean: Float[Array, " d"],
    above: Float[Array, "r d"] | None = None,
) -> Float[Array, "s d"]:
    """The R factor of the weighted centred rows below `above`: R <- qr([R; block]) by blocks.

    On a mesh every device has its share of `above`, and the triangles of all are rows of a last
    one (TSQR).
    """
    n, d = x.shape
    size = max(1024, 4 * d)

    def step(factor, w, x):
        rows = (x - mean[None]) * jnp.sqrt(w)[:, None]
        return lapack.qr_triangle(jnp.concatenate([factor, rows]))

    # A single block needs no factor of fixed size to start from.
    start = jnp.zeros((0 if n <= size * shards() else d, d), x.dtype) if above is None else above
    share = start / jnp.sqrt(jnp.asarray(shards(), x.dtype))
    triangles = per_shard(partial(row_fold, step, share, size=size), weight, x)
    if len(triangles) == 1:
        return triangles[0]
    return lapack.qr_triangle(triangles.reshape(-1, d))


def factorise(known: Moments, ridge: Float[Array, " d"]) -> Cholesky:
    """The Cholesky factor of the Gram matrix with its ridge, and what its pivots tell."""
    # A Gram scaled to a unit diagonal is as well conditioned as a diagonal scaling can make it,
    # within a factor d (van der Sluis, 1969); its pivots then tell the condition number.
    gram = known.gram + jnp.diag(ridge)
    scale = _safe(jnp.sqrt(jnp.maximum(jnp.diagonal(gram), 0)))
    lower = lapack.cholesky(gram / jnp.outer(scale, scale))
    pivots = jnp.diagonal(lower)
    condition = jnp.where(jnp.isfinite(pivots).all(), pivots.max() / pivots.min(), jnp.inf)
    return Cholesky(lower, scale, condition)


def ill_conditioned(cholesky: Cholesky) -> tuple[Bool[Array, ""], Bool[Array, ""]]:
    """Whether the plain solution wants refining, and whether the factor is too bad for that."""
    eps = jnp.finfo(cholesky.lower.dtype).eps
    square = cholesky.condition**2
    # The plain solution loses a third of the digits at most.
    return square > eps ** (-1 / 3), square * eps > _MOST_LOST


def direct(known: Moments, cholesky: Cholesky) -> Solution:
    """The plain solution of the normal equations."""
    lower, scale, condition = cholesky
    coef = lapack.cho_solve(lower, known.cross / scale[:, None]) / scale[:, None]
    error = jnp.finfo(lower.dtype).eps * condition**2
    rank, orthogonal = jnp.asarray(scale.size), jnp.asarray(False)
    intercept = _intercept(known, jnp.zeros_like(known.y_mean), coef)
    return Solution(coef, intercept, known, condition, rank, error, orthogonal)


def seminormal(cholesky: Cholesky) -> Factor:
    """The inverse by the Cholesky factor, good enough to refine with."""
    lower, scale, condition = cholesky
    identity = jnp.eye(scale.size, dtype=scale.dtype)
    inverse = lapack.solve_lower(lower, identity)
    rank, orthogonal = jnp.asarray(scale.size), jnp.asarray(False)
    return Factor(inverse.T / scale[:, None], condition, rank, orthogonal)


def _orthogonal(problem):
    x, _, weight, ridge, known = problem
    ridge_rows = jnp.diag(jnp.broadcast_to(jnp.sqrt(ridge), x.shape[1:]))
    return orthogonal_factor(triangle(x, weight, known.x_mean, ridge_rows))


def orthogonal_factor(factor: Float[Array, "s d"]) -> Factor:
    """The pseudo-inverse by the singular values of a triangle with its ridge rows."""
    # Scaled columns tell bad units from a true rank deficiency, where the norm to minimise is
    # that of the coefficients as they are.
    scale = _safe(jnp.linalg.norm(factor, axis=0))
    scaled = _pseudo_inverse_root(factor, scale, jnp.zeros_like(scale[0]))
    unscaled = _pseudo_inverse_root(factor, jnp.ones_like(scale), jnp.zeros_like(scale[0]))
    return where(scaled.rank == scale.size, scaled, unscaled)


def _thin(problem):
    x, _, weight, ridge, known = problem
    root = jnp.sqrt(ones_like_rows(x, weight))[:, None]
    rows = present(weight, x - known.x_mean[None]) * root
    return _pseudo_inverse_root(rows, jnp.ones_like(known.x_mean), ridge)


def _pseudo_inverse_root(rows, scale, ridge):
    _, values, vectors = lapack.svd(rows / scale[None])
    kept = values > jnp.finfo(rows.dtype).eps * max(rows.shape) * values[0]
    size = jnp.where(kept, jnp.sqrt(values**2 + ridge), 1)
    root = vectors.T * jnp.where(kept, 1 / size, 0)[None] / scale[:, None]
    condition = size.max() / jnp.where(kept, size, jnp.inf).min()
    return Factor(root, condition, kept.sum(), jnp.asarray(True))


def refine(
    known: Moments,
    ridge: Float[Array, "*d"],
    factor: Factor,
    gradient: Callable[..., Any],
    *,
    fit_intercept: bool,
    loop: Callable[..., Any] = jax.lax.while_loop,
) -> Solution:
    """Corrected seminormal equations, from zero until the corrections stop shrinking.

    Args:
      gradient: maps coefficients and offset to the sum of `extended_sums` over all rows.
      loop: what repeats the corrections; the host where `gradient` reads the rows from a file.
    """
    ridge = jnp.atleast_1d(ridge)[:, None]
    eps = jnp.finfo(known.gram.dtype).eps

    def correct(state):
        coef, offset, _, _, last, i = state
        (slope, slope_low), (level, level_low) = gradient(coef, offset)
        slope, level = (slope + slope_low).T, level + level_low
        step = _dot(factor.root, _dot(factor.root.T, slope - ridge * coef))
        new = coef + step
        offset = offset + level / known.weight if fit_intercept else offset
        size = (jnp.abs(step) / jnp.where(new == 0, jnp.inf, jnp.abs(new))).max()
        return new, offset, step, last, size, i + 1

    def unfinished(state):
        *_, before, last, i = state
        return (i < 3) | ((last > eps) & (last < before / 2) & (i < _MAX_REFINEMENTS))

    far = jnp.asarray(jnp.inf, eps.dtype)
    zero = jnp.zeros_like(known.cross)
    start = (zero, jnp.zeros_like(known.y_mean), zero, far, far, 0)
    coef, offset, step, *_ = loop(unfinished, correct, start)
    residual = _relative_size(known, step)
    intercept = _intercept(known, offset, coef)
    _, condition, rank, orthogonal = factor
    return Solution(coef, intercept, known, condition, rank, residual, orthogonal)


def _relative_size(known, step):
    # What the last correction does to the predictions, relative to the spread of the targets.
    moved = (step * _dot(known.gram, step)).sum()
    spread = known.y_square.sum()
    return jnp.sqrt(jnp.abs(moved) / jnp.where(spread > 0, spread, 1))


def _extended_gradient(problem, coef, offset):
    known = problem.moments
    sums = partial(extended_sums, known.x_mean, known.y_mean, coef, offset)
    return row_sum(sums, problem.weight, problem.x, problem.y)


def extended_sums(
    x_mean: Float[Array, " d"],
    y_mean: Float[Array, " k"],
    coef: Float[Array, "d k"],
    offset: Float[Array, " k"],
    w: Float[Array, " b"],
    x: Float[Array, "b d"],
    y: Float[Array, "b k"],
) -> Any:
    """X'W r and 1'W r for r = y - offset - X beta about the means, each as (high, low)."""
    x, x_low = two_sum(x, -jnp.broadcast_to(x_mean, x.shape))
    y, y_low = two_sum(y, -jnp.broadcast_to(y_mean, y.shape))

    def one_target(y, y_low, coef, offset):
        high, low = product(x.T, -coef[:, None])
        predicted, low = total(high, low - x_low.T * coef[:, None])
        level, rest = two_sum(y, -jnp.broadcast_to(offset, y.shape))
        residual, error = two_sum(level, predicted)
        low = low + (y_low + rest + error)
        high, rest = product(w, residual)
        high, low = two_sum(high, rest + w * low)
        each, rest = product(x, high[:, None])
        rest = rest + x * low[:, None] + x_low * high[:, None]
        return total(each, rest), total(high, low)

    # Targets in front: a trailing axis of length one would keep XLA from vectorising.
    return jax.vmap(one_target, (1, 1, 1, 0))(y, y_low, coef, offset)


def _intercept(known, offset, coef):
    # y_mean + offset - x_mean'beta, whose terms may cancel, in extended precision.
    high, low = product(known.x_mean[:, None], -coef)
    ends = jnp.stack([known.y_mean, offset])
    high, low = total(jnp.concatenate([ends, high]), jnp.concatenate([jnp.zeros_like(ends), low]))
    return high + low


def _safe(scale):
    return jnp.where(scale > 0, scale, 1)
