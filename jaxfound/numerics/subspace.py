r"""The leading eigenpairs of a large positive semidefinite matrix, from products with it alone.

A random block is turned towards the leading eigenvectors: by powers of the matrix, or by a
Chebyshev polynomial that is small on the unwanted part of the spectrum and grows fastest outside.
The answer is read off the block by the Rayleigh-Ritz method.

References:
  N. Halko, P.-G. Martinsson, J. Tropp, Finding structure with randomness, SIAM Review 53 (2011),
  algorithm 4.4 (powers with orthogonalisation).
  Y. Zhou, Y. Saad, M. Tiago, J. Chelikowsky, Self-consistent-field calculations using
  Chebyshev-filtered subspace iteration, J. Comput. Phys. 219 (2006), section 3.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Float, Int
from jaxfound.numerics import lapack

__all__ = ["Leading", "leading_eigenpairs", "power_eigenpairs"]

_LARGEST_DEGREE = 32
_NEAR = 256  # roundings within which a residual that no longer shrinks has converged
_dot = partial(jnp.matmul, precision="highest")


class Leading(NamedTuple):
    """Ritz pairs in descending order; the first few are wanted, the others guard them."""

    values: Float[Array, " l"]
    vectors: Float[Array, "d l"]
    image: Float[Array, "d l"]  # the matrix times `vectors`
    residual: Float[Array, ""]  # largest |A v - value v| of the wanted ones, over the first value
    n_iter: Int[Array, ""]  # products with the matrix


class _State(NamedTuple):
    found: Leading
    before: Float[Array, ""]  # the residual one cycle earlier


def leading_eigenpairs(
    product: Callable[[Float[Array, "d l"]], Float[Array, "d l"]],
    block: Float[Array, "d l"],
    wanted: int,
    *,
    tol: Float[Array, ""],
    max_iter: int,
) -> Leading:
    """Chebyshev-filtered subspace iteration until the residual is `tol`, or rounding.

    Args:
      product: the symmetric positive semidefinite matrix times a block.
      block: where to start, random. More columns than `wanted` make it converge faster.
      max_iter: products at most, to within one cycle.

    Returns:
      `Leading`; check its residual.
    """
    eps = jnp.finfo(block.dtype).eps
    goal = jnp.maximum(tol, 4 * eps)

    def unfinished(state):
        found, before = state
        stuck = (found.residual <= _NEAR * eps) & (found.residual > before / 2)
        # A residual that is NaN ends the loop.
        return (found.residual > goal) & ~stuck & (found.n_iter < max_iter)

    def cycle(state):
        filtered, degree = _filtered(product, state.found)
        found = _ritz(product, filtered, wanted, state.found.n_iter + degree)
        return _State(found, state.found.residual)

    first = _ritz(product, block, wanted, jnp.asarray(1))
    start = _State(first, jnp.full_like(first.residual, jnp.inf))
    return jax.lax.while_loop(unfinished, cycle, start).found


def power_eigenpairs(
    product: Callable[[Float[Array, "d l"]], Float[Array, "d l"]],
    block: Float[Array, "d l"],
    wanted: int,
    *,
    n_iter: int,
) -> Leading:
    """Exactly `n_iter` powers of the matrix on the block, each with a QR factorisation."""

    def power(_, block):
        return product(lapack.qr(block)[0])

    block = jax.lax.fori_loop(0, n_iter, power, block)
    return _ritz(product, block, wanted, jnp.asarray(n_iter + 1))


def _ritz(product, block, wanted, n_iter):
    basis = lapack.qr(block)[0]
    image = product(basis)
    inner = _dot(basis.T, image)
    values, turn = lapack.eigh((inner + inner.T) / 2)
    values, turn = values[::-1], turn[:, ::-1]
    vectors, image = _dot(basis, turn), _dot(image, turn)
    left = (image - vectors * values[None])[:, :wanted]
    largest = jnp.where(values[0] > 0, values[0], 1)
    residual = jnp.sqrt((left**2).sum(0)).max() / largest
    return Leading(values, vectors, image, residual, n_iter)


def _filtered(product, found):
    # T_m(2A/a - I) on the block: within [-1, 1] on [0, a], which holds the unwanted eigenvalues.
    dtype = found.values.dtype
    first = found.values[0]
    edge = jnp.maximum(found.values[-1], jnp.finfo(dtype).eps * jnp.abs(first))
    edge = jnp.where(edge > 0, edge, 1)
    degree = _degree(2 * first / edge - 1)

    def step(_, pair):
        last, block = pair
        return block, 2 * (product(block) * (2 / edge) - block) - last

    start = (found.vectors, found.image * (2 / edge) - found.vectors)
    _, block = jax.lax.fori_loop(1, degree, step, start)
    return block, degree


def _degree(end):
    # The first vectors may not outgrow the others beyond what a QR factorisation can undo.
    growth = jnp.finfo(end.dtype).eps ** -0.5
    rate = jnp.arccosh(jnp.maximum(end, 1))
    degree = jnp.log(2 * growth) / jnp.where(rate > 0, rate, 1e-3)
    return jnp.clip(degree, 1, _LARGEST_DEGREE).astype(int)
