r"""The leading eigenpairs of the scatter of rows about their mean, four ways.

$$S = \sum_i w_i (x_i - \bar x)(x_i - \bar x)^\top = V^\top \operatorname{diag}(s)\, V + \dots$$

References:
  G. Golub, C. Van Loan, Matrix Computations, 4th ed., section 8.6 (the triangular factor first).
  N. Halko, P.-G. Martinsson, J. Tropp, SIAM Review 53 (2011), algorithms 4.4 and 5.3.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Bool, Float, Int, Key
from jaxfound.numerics import lapack, least_squares, subspace
from jaxfound.numerics.branch import cond_per_lane
from jaxfound.numerics.moments import scatter
from jaxfound.numerics.reduce import mean_of_sample, row_sum

__all__ = [
    "Axes",
    "by_covariance",
    "by_random_block",
    "by_scatter",
    "by_shape",
    "by_singular",
    "by_triangle",
    "descending",
    "half_lost",
    "mean_and_weight",
    "orthogonal_axes",
]

_LEAST_COLUMNS = 256  # from which a few leading eigenpairs are found faster than all
_SMALL_SHARE = 8  # a few: a part of the columns that is smaller than this
_MOST_COLUMNS = 4096  # up to which a Gram matrix is formed
_GUARDS = 4  # vectors beyond the wanted ones, at least: a part of them that is this small
_NEAR = 256  # roundings within which an iteration has converged
_MOST_PRODUCTS = 120  # with a Gram matrix, before all of its eigenpairs are cheaper
_NOISE = 8  # roundings of the largest eigenvalue below which another one is noise, at least
_FAR_FROM_CONVERGED = 0.1  # residual of a fixed number of powers that deserves a warning
_dot = partial(jnp.matmul, precision="highest")


class Axes(NamedTuple):
    """The leading eigenpairs, in descending order, and how they were found."""

    mean: Float[Array, " d"]
    weight: Float[Array, ""]  # the sum of the weights
    vectors: Float[Array, "k d"]
    squares: Float[Array, " k"]  # eigenvalues
    rest: Float[Array, ""]  # the sum of the other eigenvalues
    floor: Float[Array, ""]  # eigenvalues below this are noise
    orthogonal: Bool[Array, ""]  # whether they come from an orthogonal factor of the rows
    n_iter: Int[Array, ""]
    residual: Float[Array, ""]  # largest |S v - s v|, over the first eigenvalue
    converged: Bool[Array, ""]


def by_covariance(
    x: Float[Array, "n d"],
    weight: Float[Array, " n"] | None,
    k: int,
    key: Key,
    *,
    guards: int = 10,
) -> Axes:
    """One pass for the scatter, then its eigenpairs: all, or where they are few only those.

    The error of each eigenvalue is relative to the largest one.

    Args:
      key: where the search for a few starts.
      guards: extra vectors of that search, at least.
    """
    return by_scatter(*scatter(x, weight), k, key, guards=guards)


def by_scatter(
    mean: Float[Array, " d"],
    amount: Float[Array, ""],
    gram: Float[Array, "d d"],
    k: int,
    key: Key,
    *,
    guards: int = 10,
) -> Axes:
    """The same, of a scatter that is known."""
    vectors, squares, rest = _eigenpairs(gram, k, key, guards)
    return _axes(mean, amount, vectors, squares, rest, orthogonal=False)


def by_triangle(x: Float[Array, "n d"], weight: Float[Array, " n"] | None, k: int) -> Axes:
    """Singular values of the rows themselves: the condition number enters once, not squared."""
    mean, amount = mean_and_weight(x, weight)
    return by_singular(mean, amount, *orthogonal_axes(x, weight, mean), k)


def by_shape(
    x: Float[Array, "n d"],
    weight: Float[Array, " n"] | None,
    k: int,
    key: Key,
    *,
    guards: int = 10,
) -> Axes:
    """The scatter, or the triangle where half of the digits of an eigenvalue would be lost."""
    if len(x) < x.shape[1] or x.shape[1] > _MOST_COLUMNS:
        return by_triangle(x, weight, k)

    def careful(x, weight, found):
        axes = orthogonal_axes(x, weight, found.mean)
        return by_singular(found.mean, found.weight, *axes, k)

    found = by_covariance(x, weight, k, key, guards=guards)
    return cond_per_lane(half_lost(found), careful, lambda *operands: operands[2], x, weight, found)


def half_lost(found: Axes) -> Bool[Array, ""]:
    """Whether half of the digits of an eigenvalue of a scatter are lost."""
    last, first = found.squares.min(initial=jnp.inf), found.squares.max(initial=0)
    return last <= jnp.sqrt(jnp.finfo(first.dtype).eps) * first


def by_random_block(
    x: Float[Array, "n d"],
    weight: Float[Array, " n"] | None,
    k: int,
    key: Key,
    *,
    guards: int,
    n_powers: int | None,
    tol: Float[Array, ""],
    max_iter: int,
) -> Axes:
    """Turns a random block of `k + guards` vectors towards the leading eigenvectors.

    No centred copy of the rows is made, and no scatter where there are many columns.

    Args:
      n_powers: exactly so many powers of the scatter; None is until the residual is `tol`.
    """
    mean, amount, trace, product = _scatter(x, weight)
    guards = guards if n_powers is not None else max(guards, k // _GUARDS)
    block = jax.random.normal(key, (x.shape[1], min(x.shape[1], max(k, 1) + guards)), x.dtype)
    if n_powers is None:
        found = subspace.leading_eigenpairs(product, block, k, tol=tol, max_iter=max_iter)
        enough = jnp.maximum(tol, _NEAR * jnp.finfo(x.dtype).eps)
    else:
        found = subspace.power_eigenpairs(product, block, k, n_iter=n_powers)
        enough = jnp.asarray(_FAR_FROM_CONVERGED, x.dtype)
    squares = jnp.maximum(found.values[:k], 0)
    rest = jnp.maximum(trace - squares.sum(), 0)
    axes = _axes(mean, amount, found.vectors[:, :k].T, squares, rest, orthogonal=False)
    return axes._replace(
        n_iter=found.n_iter, residual=found.residual, converged=found.residual <= enough
    )


def by_singular(
    mean: Float[Array, " d"],
    weight: Float[Array, ""],
    vectors: Float[Array, "r d"],
    singular: Float[Array, " r"],
    k: int,
) -> Axes:
    """The first `k` of all singular pairs."""
    squares = singular**2
    axes = _axes(mean, weight, vectors[:k], squares[:k], squares[k:].sum(), orthogonal=True)
    real = axes.squares > axes.floor
    filled = jax.lax.cond(real.all(), lambda v, _: v, _completed, axes.vectors, real)
    return axes._replace(vectors=filled)


def descending(matrix: Float[Array, "d d"]) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
    """Eigenvalues of a semidefinite matrix, largest first, and eigenvectors, one a row."""
    values, vectors = lapack.eigh((matrix + matrix.T) / 2)
    return jnp.maximum(values[::-1], 0), vectors[:, ::-1].T


def mean_and_weight(
    x: Float[Array, "n d"], weight: Float[Array, " n"] | None
) -> tuple[Float[Array, " d"], Float[Array, ""]]:
    """The weighted mean, about a shift so that no digits are lost, and the sum of the weights."""
    shift = mean_of_sample(weight, x)
    amount, first = row_sum(lambda w, x: (w.sum(), _dot(w, x - shift[None])), weight, x)
    return shift + first / amount, amount


def orthogonal_axes(
    x: Float[Array, "n d"], weight: Float[Array, " n"] | None, mean: Float[Array, " d"]
) -> tuple[Float[Array, "r d"], Float[Array, " r"]]:
    """All axes, one a row, and singular values of the weighted centred rows."""
    rows = least_squares.triangle(x, weight, mean)
    _, singular, vectors = lapack.svd(rows)
    return vectors, singular


def _completed(vectors, real):
    # Where the rows have no variance any direction is an axis: the same for the same span of the
    # others, whatever rounding would have made of it.
    fixed = jax.random.normal(jax.random.key(0), vectors.shape, vectors.dtype)
    known = jnp.where(real[:, None], vectors, 0)
    fixed = jnp.where(real[:, None], vectors, fixed - _dot(_dot(fixed, known.T), known))
    return jnp.where(real[:, None], vectors, lapack.qr(fixed.T)[0].T)


def _axes(mean, amount, vectors, squares, rest, *, orthogonal):
    # Rounding is relative to the largest eigenvalue, or to the largest singular value.
    noise = max(_NOISE, mean.size**0.5) * jnp.finfo(mean.dtype).eps
    floor = (noise**2 if orthogonal else noise) * squares.max(initial=0)
    done = jnp.asarray(0), jnp.zeros_like(amount), jnp.asarray(True)
    return Axes(mean, amount, vectors, squares, rest, floor, jnp.asarray(orthogonal), *done)


def _scatter(x, weight):
    """Mean, weight, trace, and the function that multiplies by the scatter."""
    if x.shape[1] <= min(_MOST_COLUMNS, 4 * x.shape[0]):
        mean, amount, gram = scatter(x, weight)
        return mean, amount, jnp.trace(gram), lambda block: _dot(gram, block)
    mean, amount = mean_and_weight(x, weight)

    def spread(w, x):
        return _dot(w, (x - mean[None]) ** 2).sum()

    def product(block):
        # (X - 1 m')'W(X - 1 m')B, a block of rows at a time.
        def statistic(w, x):
            rows = x - mean[None]
            return _dot(rows.T, _dot(rows, block) * w[:, None])

        return row_sum(statistic, weight, x)

    return mean, amount, row_sum(spread, weight, x), product


def _eigenpairs(gram, k, key, guards):
    d = len(gram)

    def all_pairs(gram, *_):
        values, vectors = descending(gram)
        return vectors[:k], values[:k], values[k:].sum()

    if k * _SMALL_SHARE > d or d < _LEAST_COLUMNS:
        return all_pairs(gram)
    block = jax.random.normal(key, (d, k + max(guards, k // 2)), gram.dtype)
    found = subspace.leading_eigenpairs(
        lambda block: _dot(gram, block),
        block,
        k,
        tol=jnp.zeros((), gram.dtype),
        max_iter=_MOST_PRODUCTS,
    )
    values = jnp.maximum(found.values[:k], 0)
    few = found.vectors[:, :k].T, values, jnp.maximum(jnp.trace(gram) - values.sum(), 0)
    # A spectrum without any decay.
    slow = found.residual > _NEAR * jnp.finfo(gram.dtype).eps
    return cond_per_lane(slow, all_pairs, lambda *operands: operands[1], gram, few)
