r"""Derivatives of eigenvalues and eigenvectors from their equation $S v = s v$, $v^\top v = 1$.

$$\dot s_i = v_i^\top \dot S v_i, \qquad
  \dot v_i = \sum_{j \ne i} \frac{v_j^\top \dot S v_i}{s_i - s_j}\, v_j$$

Only the products $\dot S v_i$ with the wanted vectors are needed, and nothing of how the pairs
were computed. Where two eigenvalues are equal, their vectors turn freely: no derivative exists.

Reference: J. Magnus, On differentiating eigenvalues and eigenvectors, Econometric Theory 1
(1985), theorem 1.
"""

from functools import partial

import jax.numpy as jnp

from jaxfound._types import Array, Bool, Float

__all__ = ["pair_tangents", "tied"]

_ROUNDINGS = 8  # relative gap of singular values, in roundings, up to which they count as equal
_dot = partial(jnp.matmul, precision="highest")


def pair_tangents(
    pushed: Float[Array, "k d"],
    vectors: Float[Array, "k d"],
    axes: Float[Array, "r d"],
    singular: Float[Array, " r"],
) -> tuple[Float[Array, " k"], Float[Array, "k d"]]:
    """The tangents of the first k eigenvalues and eigenvectors of a semidefinite matrix.

    Args:
      pushed: the tangent of the matrix times each of the vectors.
      vectors: the wanted eigenvectors, one a row.
      axes: eigenvectors of all eigenvalues that are not zero (others are allowed), in the same
        order.
      singular: square roots of the eigenvalues, which tell small ones apart.

    Returns:
      Tangents of values and vectors; NaN for one that shares its eigenvalue.
    """
    k, r = len(vectors), len(axes)
    own = jnp.arange(k)[:, None] == jnp.arange(r)[None]
    gap = (singular[:k, None] - singular[None]) * (singular[:k, None] + singular[None])
    along = _dot(pushed, axes.T)
    within = _dot(jnp.where(own, 0, along / jnp.where(own, 1, gap)), axes)
    # What no axis spans belongs to the eigenvalue zero.
    outside = pushed - _dot(along, axes)
    outside = outside / jnp.where(singular[:k] > 0, singular[:k] ** 2, 1)[:, None]
    moved = within + outside if r < axes.shape[1] else within
    moved = moved - vectors * (moved * vectors).sum(1, keepdims=True)
    # A factor, not a choice: the transpose of a choice would turn the NaN into zero.
    lost = tied(singular, k, complete=r == axes.shape[1])
    known = jnp.where(lost, jnp.nan, jnp.ones(k, singular.dtype))
    value = (pushed * vectors).sum(1)
    return value * known, moved * known[:, None]


def tied(singular: Float[Array, " r"], k: int, *, complete: bool) -> Bool[Array, " k"]:
    """Which of the first k values equal another one, to rounding.

    Args:
      complete: False if there are directions beyond these values, all with the value zero.
    """
    apart = jnp.abs(singular[:k, None] - singular[None])
    own = jnp.arange(k)[:, None] == jnp.arange(len(singular))[None]
    nearest = jnp.where(own, jnp.inf, apart).min(1, initial=jnp.inf)
    if not complete:
        nearest = jnp.minimum(nearest, singular[:k])
    roundings = max(_ROUNDINGS, len(singular) ** 0.5)
    return nearest <= roundings * jnp.finfo(singular.dtype).eps * singular.max(initial=0)
