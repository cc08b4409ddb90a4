"""Standard errors, tests and confidence intervals of coefficients: least squares and likelihood."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.scipy.special import betainc, ndtr, ndtri

from jaxfound._show import as_table
from jaxfound._types import Array, Float, Shaped
from jaxfound.models import linear, logistic
from jaxfound.numerics.least_squares import orthogonal_factor, triangle
from jaxfound.numerics.reduce import ones_like_rows, present

__all__ = ["Inference", "least_squares", "maximum_likelihood", "t_quantile"]

_dot = partial(jnp.matmul, precision="highest")
_BISECTIONS = 80


class Inference(NamedTuple):
    """Every field but the last has the shape of `Params`."""

    estimate: Any
    error: Any  # standard error
    statistic: Any  # estimate / error
    p_value: Any  # of the hypothesis that it is zero, two-sided
    low: Any  # of the confidence interval
    high: Any
    df: Float[Array, ""]  # degrees of freedom: t, or the normal law for infinity

    _repr_html_ = as_table


@partial(jax.jit, static_argnames="config")
def least_squares(
    params: linear.Params,
    x: Float[Array, "n d"],
    y: Float[Array, "n *k"],
    weight: Shaped[Array, " n"] | None = None,
    level: Float[Array, ""] | float = 0.95,
    *,
    config: linear.Config = linear.Config(),
) -> Inference:
    r"""Standard errors $\hat\sigma \sqrt{(X^\top W X)^{-1}_{jj}}$, with Student's t.

    $\hat\sigma^2$ is the residual sum of squares over $\sum_i w_i - p$. The inverse comes from an
    orthogonal factor of the centred rows, which sees the condition number once, not squared.

    Args:
      params: from `linear.fit` to these rows.
      x, y: the rows of the fit.
      weight: frequencies: an integer weight is that many rows. (For weights that are inverse
        variances scale them to a mean of one.)
      level: probability that an interval holds the coefficient.
      config: of the fit; says whether there is an intercept.

    Reference: T. Hastie, R. Tibshirani, J. Friedman, The Elements of Statistical Learning, 2nd
    ed., eq. 3.8, 3.12 and 3.14.
    """
    weight = ones_like_rows(x, weight)
    x, y = present(weight, x), present(weight, y)
    total = weight.sum()
    mean = _dot(weight, x) / total if config.fit_intercept else jnp.zeros_like(x[0])
    root = orthogonal_factor(triangle(x, weight, mean)).root  # P P' is the inverse Gram matrix
    at_mean = 1 / total if config.fit_intercept else jnp.zeros_like(total)
    spread = (root**2).sum(1), at_mean + (_dot(mean, root) ** 2).sum()
    df = total - (x.shape[1] + config.fit_intercept)
    sigma = jnp.sqrt(_dot(weight, (y - linear.predict(params, x)) ** 2) / df)
    error = linear.Params(
        jnp.sqrt(spread[0]).reshape(-1, *(1,) * sigma.ndim) * sigma[None],
        jnp.sqrt(spread[1]) * sigma,
    )
    return _inference(params, error, df, level)


@partial(jax.jit, static_argnames="config")
def maximum_likelihood(
    params: logistic.Params,
    x: Float[Array, "n d"],
    y: Shaped[Array, " n"],
    weight: Shaped[Array, " n"] | None = None,
    level: Float[Array, ""] | float = 0.95,
    *,
    config: logistic.Config = logistic.Config(),
) -> Inference:
    r"""Standard errors of an unpenalised logistic fit of two classes, from its information matrix.

    $$\operatorname{Cov}(\hat\theta) \approx
      \big(\nabla^2_\theta \textstyle\sum_i w_i \ell_i(\hat\theta)\big)^{-1}$$

    Wald's intervals and tests, with the normal law. A penalty makes the estimate biased and these
    intervals too short: fit with `Hyper(C=inf)`.

    Args:
      params: from `logistic.fit` to these rows.
      x, y, weight, level, config: as for `least_squares`.

    Raises:
      ValueError: for more than two classes, whose scores are known up to a shift only.

    Reference: A. Agresti, Categorical Data Analysis, 2nd ed., section 5.5.1.
    """
    if config.n_classes != 2:
        raise ValueError(
            f"config has n_classes={config.n_classes}, expected 2: compare two classes at a time."
        )
    weight = ones_like_rows(x, weight)
    free = logistic.Params(
        jnp.ones_like(params.coef), jnp.full_like(params.intercept, config.fit_intercept)
    )
    flat, unravel = ravel_pytree(params)
    moves = ravel_pytree(free)[0]

    def loss(flat):
        known = unravel(jnp.where(moves > 0, flat, 0))
        hyper = logistic.Hyper(C=jnp.inf)
        return logistic.objective(known, x, y, weight, hyper, config=config)

    information = jax.hessian(loss)(flat) + jnp.diag(1 - moves)
    scale = 1 / jnp.sqrt(jnp.diagonal(information))  # units of the columns cost no digits
    inverse = jnp.linalg.inv(information * jnp.outer(scale, scale))
    error = jnp.sqrt(jnp.diagonal(inverse)) * scale * moves
    return _inference(params, unravel(error), jnp.full_like(scale[0], jnp.inf), level)


def t_quantile(level: Float[Array, ""], df: Float[Array, ""]) -> Float[Array, ""]:
    """The number that |T| of Student's law stays below with probability `level`, by bisection."""

    def halve(_, ends):
        middle = ends.mean()
        return jnp.where(
            _two_sided(jnp.exp(middle), df) > 1 - level,
            ends.at[0].set(middle),
            ends.at[1].set(middle),
        )

    ends = jnp.asarray([-20.0, 40.0], df.dtype)
    student = jnp.exp(jax.lax.fori_loop(0, _BISECTIONS, halve, ends).mean())
    return jnp.where(jnp.isinf(df), ndtri((1 + level) / 2), student)


def _two_sided(statistic, df):
    """P(|T| > t)."""
    square = statistic**2
    finite = jnp.where(jnp.isinf(df), 1, df)
    tail = betainc(finite / 2, jnp.full_like(finite, 0.5), finite / (finite + square))
    return jnp.where(jnp.isinf(df), 2 * ndtr(-jnp.abs(statistic)), tail)


def _inference(estimate, error, df, level):
    level = jnp.asarray(level, df.dtype)
    reach = t_quantile(level, df)
    statistic = jax.tree.map(lambda value, own: value / own, estimate, error)
    return Inference(
        estimate,
        error,
        statistic,
        jax.tree.map(lambda t: _two_sided(t, df), statistic),
        jax.tree.map(lambda value, own: value - reach * own, estimate, error),
        jax.tree.map(lambda value, own: value + reach * own, estimate, error),
        df,
    )
