r"""Coordinates in which a sample of rows is white: where steepest descent is Newton's method.

Reference: Y. Chen, A. Wiesel, Y. Eldar, A. Hero, Shrinkage algorithms for MMSE covariance
estimation, IEEE Trans. Signal Processing 58 (2010), eq. 23.
"""

from functools import partial

import jax.numpy as jnp

from jaxfound._types import Array, Float
from jaxfound.numerics import lapack

__all__ = ["whitening"]

_UNSEEN = 1e-5  # of the average curvature, for a column of zeros in the sample
_LEAST_NOISE = 1e-5  # keeps the correlation of collinear columns positive definite in float32
_dot = partial(jnp.matmul, precision="highest")


def whitening(
    rows: Float[Array, "n m"],
    weight: Float[Array, " n"],
    ridge: Float[Array, " m"],
    *,
    curvature: Float[Array, ""] | float,
) -> tuple[Float[Array, "m m"], Float[Array, "m m"]]:
    r"""$L$ and $L^{-\top}$ with $L L^\top \approx c\, X^\top W X / \sum_i w_i + \Lambda$.

    In float32 but for the units of the columns, which is enough to change coordinates.

    Args:
      rows: a sample, absent rows zero.
      ridge: the diagonal of $\\Lambda$.
      curvature: $c$.
    """
    dtype, tiny = rows.dtype, float(jnp.finfo(rows.dtype).tiny)
    share = weight / jnp.maximum(weight.sum(), tiny)
    bend = curvature * _dot(share, rows**2)
    bend = jnp.where(bend > 0, bend, _UNSEEN * bend.mean()) + ridge
    scale = jnp.sqrt(jnp.maximum(bend, tiny))  # the Hessian has a unit diagonal in these units
    lower = lapack.cholesky(
        _correlation((rows / scale[None]).astype(jnp.float32), share, curvature)
    )
    identity = jnp.eye(len(scale), dtype=jnp.float32)
    inverse = lapack.solve_lower(lower, identity)
    return scale[:, None] * lower.astype(dtype), inverse.T.astype(dtype) / scale[:, None]


def _correlation(rows, share, curvature):
    # A few rows for each column show correlations where there are none: shrunk towards zero.
    identity = jnp.eye(rows.shape[1], dtype=rows.dtype)
    share, curvature = share.astype(rows.dtype), jnp.asarray(curvature, rows.dtype)
    seen = jnp.where(identity > 0, 1, curvature * _dot(rows.T, rows * share[:, None]))
    n, m, squares = 1 / (share**2).sum(), len(seen), (seen**2).sum()
    noise = ((1 - 2 / m) * squares + m**2) / ((n + 1 - 2 / m) * jnp.maximum(squares - m, 1e-6))
    return seen + jnp.clip(noise, _LEAST_NOISE, 1) * (identity - seen)
