r"""The Gaussian of principal components: $\Sigma = V^\top (E - \sigma^2) V + \sigma^2$.

References:
  M. Tipping, C. Bishop, Probabilistic principal component analysis, J. Royal Statist. Soc. B 61
  (1999), eq. 7 and 8.
  C. Bishop, Pattern Recognition and Machine Learning, eq. 12.36 and 12.43.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._show import as_table
from jaxfound._types import Array, Float

__all__ = ["Gaussian", "covariance", "log_density", "precision"]

_dot = partial(jnp.matmul, precision="highest")


class Gaussian(NamedTuple):
    mean: Float[Array, " d"]
    components: Float[Array, "k d"]
    variance: Float[Array, " k"]  # along the components
    noise: Float[Array, ""]  # variance in every other direction; 0 where there is none

    _repr_html_ = as_table


@jax.jit
def covariance(model: Gaussian) -> Float[Array, "d d"]:
    """The covariance matrix."""
    return _spectral(model, model.variance, model.noise)


@jax.jit
def precision(model: Gaussian) -> Float[Array, "d d"]:
    """Its inverse; the pseudo-inverse where a variance is zero."""
    return _spectral(model, _inverse(model.variance), _inverse(model.noise))


@jax.jit
def log_density(model: Gaussian, x: Float[Array, "n d"]) -> Float[Array, " n"]:
    """Log density of every row; of its projection where a variance is zero."""
    k, d = model.components.shape
    rows = x - model.mean[None]
    scores = _dot(rows, model.components.T)
    left = rows - _dot(scores, model.components)
    distance = _dot(scores**2, _inverse(model.variance)) + (left**2).sum(1) * _inverse(model.noise)
    volume = _log(model.variance).sum() + (d - k) * _log(model.noise)
    return -(distance + volume + d * jnp.log(2 * jnp.pi)) / 2


def _spectral(model, along, beyond):
    v = model.components
    return _dot(v.T * (along - beyond)[None], v) + beyond * jnp.eye(v.shape[1], dtype=v.dtype)


def _inverse(variance):
    return jnp.where(variance > 0, 1 / jnp.where(variance > 0, variance, 1), 0)


def _log(variance):
    return jnp.log(jnp.where(variance > 0, variance, 1))
