r"""How many dimensions a spectrum has, by Laplace's approximation to the evidence.

Reference: T. Minka, Automatic choice of dimensionality for PCA, NIPS 13 (2000), eq. 77 to 80 of
the technical report 514 (eq. 30 and 31 of the paper).
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from jaxfound._types import Array, Float, Int, Shaped

__all__ = ["log_evidence", "most_likely_dimension"]

_TINY = 1e-15  # of the largest variance: smaller ones are rounding, also in float64


def most_likely_dimension(
    variance: Float[Array, " d"], n: Shaped[Array, ""] | int
) -> Int[Array, ""]:
    """The number of dimensions, from 1 to d - 1, of the largest evidence (1 if d is 1)."""
    return 1 + jnp.argmax(log_evidence(variance, n))


@jax.jit
def log_evidence(variance: Float[Array, " d"], n: Shaped[Array, ""] | int) -> Float[Array, " m"]:
    """The log evidence of 1, ..., d - 1 dimensions, up to a constant.

    Args:
      variance: all of them, descending.
      n: rows, or their sum of weights.

    Returns:
      Minus infinity for a dimension whose own variance is only rounding.
    """
    d = len(variance)
    n = jnp.asarray(n, variance.dtype)
    least = _TINY * variance[0]
    variance = jnp.maximum(variance, least)
    k = jnp.arange(1, d)  # as an index, the first direction left out
    real = k.astype(variance.dtype)
    beyond = (variance.sum() - jnp.cumsum(variance))[:-1] / (d - real)
    left = jnp.maximum(beyond, least)  # the mean variance of what is left out

    half = (d - real + 1) / 2
    volume = jnp.cumsum(gammaln(half) - half * jnp.log(jnp.pi)) - real * jnp.log(2.0)
    fitted = -n / 2 * jnp.cumsum(jnp.log(variance))[:-1]
    noise = -n / 2 * (d - real) * jnp.log(left)
    free = d * real - real * (real + 1) / 2
    scale = (free + real) / 2 * jnp.log(2 * jnp.pi) - real / 2 * jnp.log(n)
    value = volume + fitted + noise + scale - _curvature(variance, left, free, n) / 2
    return jnp.where(variance[:-1] > least, value, -jnp.inf)


def _curvature(variance, left, free, n):
    # Sum over i <= k < j and i < j <= k of the log curvature of turning axis i towards axis j.
    d = len(variance)
    tiny = jnp.finfo(variance.dtype).tiny
    above = jnp.triu(jnp.ones((d, d), bool), 1)

    def log(value):
        return jnp.log(jnp.maximum(value, tiny))

    gap = jnp.where(above, log(variance[:, None] - variance[None]), 0).sum(1)
    inverse = 1 / variance
    inner = jnp.where(above, log(inverse[None] - inverse[:, None]), 0)
    inside = jnp.cumsum(inner.sum(0))[:-1]  # both axes among the first k
    outside = log(1 / left[:, None] - inverse[None])
    first = jnp.arange(d)[None] < jnp.arange(1, d)[:, None]
    others = (d - jnp.arange(1, d)).astype(variance.dtype)
    outside = jnp.where(first, outside, 0).sum(1) * others
    return jnp.cumsum(gap)[:-1] + inside + outside + free * jnp.log(n)
