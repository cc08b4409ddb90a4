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

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Bool, Float, Int
from jaxfound.numerics.branch import cond_per_lane
from jaxfound.numerics.compensated import product, total, two_sum
from jaxfound.numerics.mesh import per_shard, shards
from jaxfound.numerics.reduce import (
    mean_of_sample,
    ones_like_rows,
    present,
    row_fold,
    row_sum,
)

__all__ = ["Moments", "Solution", "moments", "scatter", "solve", "sum_of_squares", "triangle"]

_LEAF = 128  # columns below which splitting a symmetric product no longer pays
_MOST_LOST = 1e-4  # relative error of a Cholesky factor that refinement still mends quickly
_SMALL = 2**14  # elements of a problem on which refinement costs nothing: it is always done
_MAX_REFINEMENTS = 20
_dot = partial(jnp.matmul, precision="highest")


class Moments(NamedTuple):
    """Weighted moments about the mean (about zero without an intercept)."""

    weight: Float[Array, ""]  # the sum of the weights
    x_mean: Float[Array, " d"]
    y_mean: Float[Array, " k"]
    gram: Float[Array, "d d"]  # sum of w (x - mean)(x - mean)'
    cross: Float[Array, "d k"]  # sum of w (x - mean)(y - mean)'
    y_square: Float[Array, " k"]  # sum of w (y - mean)^2


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


class _Factor(NamedTuple):
    """$(X^\\top W X + \\Lambda)^+ = P P^\\top$."""

    root: Float[Array, "d r"]
    condition: Float[Array, ""]
    rank: Int[Array, ""]
    orthogonal: Bool[Array, ""]


class _Cholesky(NamedTuple):
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
    refined = partial(_refined, fit_intercept=fit_intercept)
    if solver == "svd" or (solver == "auto" and n <= d):
        problem = _Problem(x, y, weight, ridge, known)
        thin = n <= d and ridge.ndim == 0  # then no d x d matrix is formed
        return refined(problem, _thin(problem) if thin else _orthogonal(problem))

    problem = _Problem(x, y, weight, jnp.broadcast_to(ridge, (d,)), known)
    cholesky = _factorise(known.gram + jnp.diag(problem.ridge))

    def careful(problem, cholesky):
        factor = _seminormal(cholesky)
        if solver == "auto":
            lost = cholesky.condition**2 * jnp.finfo(x.dtype).eps > _MOST_LOST
            factor = cond_per_lane(
                lost, lambda p, _: _orthogonal(p), lambda _, f: f, problem, factor
            )
        return refined(problem, factor)

    if x.size * y.shape[1] <= _SMALL:
        return careful(problem, cholesky)
    # The plain solution loses a third of the digits at most.
    ill = cholesky.condition**2 > jnp.finfo(x.dtype).eps ** (-1 / 3)
    return cond_per_lane(ill, careful, _direct, problem, cholesky)


def moments(
    x: Float[Array, "n d"],
    y: Float[Array, "n k"],
    weight: Float[Array, " n"] | None,
    *,
    centre: bool,
) -> Moments:
    """Weighted moments in one pass, about a shift close to the mean so that no digits cancel."""
    x_shift = mean_of_sample(weight, x) if centre else jnp.zeros(x.shape[1:], x.dtype)
    y_shift = mean_of_sample(weight, y) if centre else jnp.zeros(y.shape[1:], y.dtype)

    def statistic(w, x, y):
        x, y = x - x_shift[None], y - y_shift[None]
        yw = y * w[:, None]
        # A vector times the rows, not the sum over a column, which is slow on a CPU.
        first = w.sum(), _dot(w, x), yw.sum(0)
        return *first, _gram_pieces(x * w[:, None], x), _dot(yw.T, x), (yw * y).sum(0)

    amount, x_sum, y_sum, pieces, cross, y_square = row_sum(statistic, weight, x, y)
    gram, cross = _assemble(pieces), cross.T
    if not centre:
        return Moments(amount, jnp.zeros_like(x_sum), jnp.zeros_like(y_sum), gram, cross, y_square)
    x_off, y_off = x_sum / amount, y_sum / amount
    return Moments(
        amount,
        x_shift + x_off,
        y_shift + y_off,
        gram - jnp.outer(x_sum, x_off),
        cross - jnp.outer(x_sum, y_off),
        y_square - y_sum * y_off,
    )


def scatter(
    x: Float[Array, "n d"], weight: Float[Array, " n"] | None
) -> tuple[Float[Array, " d"], Float[Array, ""], Float[Array, "d d"]]:
    """Mean, sum of weights, and $\\sum_i w_i (x_i - \\bar x)(x_i - \\bar x)^\\top$, in one pass."""
    shift = mean_of_sample(weight, x)

    def statistic(w, x):
        x = x - shift[None]
        return w.sum(), _dot(w, x), _gram_pieces(x * w[:, None], x)

    amount, x_sum, pieces = row_sum(statistic, weight, x)
    offset = x_sum / amount
    return shift + offset, amount, _assemble(pieces) - jnp.outer(x_sum, offset)


def sum_of_squares(known: Moments, coef: Float[Array, "d k"]) -> Float[Array, ""]:
    """The weighted residual sum of squares of `coef` with its best intercept, from the moments."""
    explained = coef * (2 * known.cross - _dot(known.gram, coef))
    return jnp.maximum(known.y_square.sum() - explained.sum(), 0)


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
        return jnp.linalg.qr(jnp.concatenate([factor, rows]), mode="r")

    # A single block needs no factor of fixed size to start from.
    start = jnp.zeros((0 if n <= size * shards() else d, d), x.dtype) if above is None else above
    share = start / jnp.sqrt(jnp.asarray(shards(), x.dtype))
    triangles = per_shard(partial(row_fold, step, share, size=size), weight, x)
    if len(triangles) == 1:
        return triangles[0]
    return jnp.linalg.qr(triangles.reshape(-1, d), mode="r")


def _gram_pieces(xw, x):
    # Half of a symmetric product is known from the other half: split while that saves time.
    half = x.shape[1] // 16 * 8
    if x.shape[1] <= _LEAF:
        return _dot(xw.T, x)
    corner = _dot(xw[:, :half].T, x[:, half:])
    return _gram_pieces(xw[:, :half], x[:, :half]), corner, _gram_pieces(xw[:, half:], x[:, half:])


def _assemble(pieces):
    if not isinstance(pieces, tuple):
        return pieces
    first, corner, second = _assemble(pieces[0]), pieces[1], _assemble(pieces[2])
    return jnp.block([[first, corner], [corner.T, second]])


def _factorise(gram):
    # A Gram scaled to a unit diagonal is as well conditioned as a diagonal scaling can make it,
    # within a factor d (van der Sluis, 1969); its pivots then tell the condition number.
    scale = _safe(jnp.sqrt(jnp.maximum(jnp.diagonal(gram), 0)))
    lower = jnp.linalg.cholesky(gram / jnp.outer(scale, scale))
    pivots = jnp.diagonal(lower)
    condition = jnp.where(jnp.isfinite(pivots).all(), pivots.max() / pivots.min(), jnp.inf)
    return _Cholesky(lower, scale, condition)


def _direct(problem, cholesky):
    known, (lower, scale, condition) = problem.moments, cholesky
    coef = jax.scipy.linalg.cho_solve((lower, True), known.cross / scale[:, None]) / scale[:, None]
    error = jnp.finfo(lower.dtype).eps * condition**2
    rank, orthogonal = jnp.asarray(scale.size), jnp.asarray(False)
    intercept = _intercept(known, jnp.zeros_like(known.y_mean), coef)
    return Solution(coef, intercept, known, condition, rank, error, orthogonal)


def _seminormal(cholesky):
    lower, scale, condition = cholesky
    identity = jnp.eye(scale.size, dtype=scale.dtype)
    inverse = jax.scipy.linalg.solve_triangular(lower, identity, lower=True)
    rank, orthogonal = jnp.asarray(scale.size), jnp.asarray(False)
    return _Factor(inverse.T / scale[:, None], condition, rank, orthogonal)


def _orthogonal(problem):
    x, _, weight, ridge, known = problem
    ridge_rows = jnp.diag(jnp.broadcast_to(jnp.sqrt(ridge), x.shape[1:]))
    factor = triangle(x, weight, known.x_mean, ridge_rows)
    # Scaled columns tell bad units from a true rank deficiency, where the norm to minimise is
    # that of the coefficients as they are.
    scale = _safe(jnp.linalg.norm(factor, axis=0))
    scaled = _pseudo_inverse_root(factor, scale, jnp.zeros_like(scale[0]))
    unscaled = _pseudo_inverse_root(factor, jnp.ones_like(scale), jnp.zeros_like(scale[0]))
    return jax.tree.map(partial(jnp.where, scaled.rank == scale.size), scaled, unscaled)


def _thin(problem):
    x, _, weight, ridge, known = problem
    root = jnp.sqrt(ones_like_rows(x, weight))[:, None]
    rows = present(weight, x - known.x_mean[None]) * root
    return _pseudo_inverse_root(rows, jnp.ones_like(known.x_mean), ridge)


def _pseudo_inverse_root(rows, scale, ridge):
    _, values, vectors = jnp.linalg.svd(rows / scale[None], full_matrices=False)
    kept = values > jnp.finfo(rows.dtype).eps * max(rows.shape) * values[0]
    size = jnp.where(kept, jnp.sqrt(values**2 + ridge), 1)
    root = vectors.T * jnp.where(kept, 1 / size, 0)[None] / scale[:, None]
    condition = size.max() / jnp.where(kept, size, jnp.inf).min()
    return _Factor(root, condition, kept.sum(), jnp.asarray(True))


def _refined(problem, factor, *, fit_intercept):
    """Corrected seminormal equations, from zero until the corrections stop shrinking."""
    known, ridge = problem.moments, jnp.atleast_1d(problem.ridge)[:, None]
    eps = jnp.finfo(problem.x.dtype).eps

    def correct(state):
        coef, offset, _, _, last, i = state
        slope, level = _extended_gradient(problem, coef, offset)
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
    coef, offset, step, *_ = jax.lax.while_loop(unfinished, correct, start)
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
    # X'W r and 1'W r for r = y - offset - X beta about the means, in extended precision.
    known = problem.moments

    def statistic(w, x, y):
        x, x_low = two_sum(x, -jnp.broadcast_to(known.x_mean, x.shape))
        y, y_low = two_sum(y, -jnp.broadcast_to(known.y_mean, y.shape))

        def one_target(y, y_low, coef, offset):
            terms, low = product(x.T, -coef[:, None])
            low = y_low + (low - x_low.T * coef[:, None]).sum(0)
            ends = jnp.stack([y, jnp.broadcast_to(-offset, y.shape)])
            high, low = total(jnp.concatenate([ends, *terms]), low)
            terms, rest = product(w, high)
            high, low = total(terms, rest + w * low)
            terms, rest = product(x, high[:, None])
            rest = rest + x * low[:, None] + x_low * high[:, None]
            return total(jnp.concatenate(terms), rest.sum(0)), total(high, low.sum())

        # Targets in front: a trailing axis of length one would keep XLA from vectorising.
        return jax.vmap(one_target, (1, 1, 1, 0))(y, y_low, coef, offset)

    sums = row_sum(statistic, problem.weight, problem.x, problem.y)
    (slope, slope_low), (level, level_low) = sums
    return (slope + slope_low).T, level + level_low


def _intercept(known, offset, coef):
    # y_mean + offset - x_mean'beta, whose terms may cancel, in extended precision.
    terms, rest = product(known.x_mean[:, None], -coef)
    high, low = total(jnp.concatenate([known.y_mean[None], offset[None], *terms]), rest.sum(0))
    return high + low


def _safe(scale):
    return jnp.where(scale > 0, scale, 1)
