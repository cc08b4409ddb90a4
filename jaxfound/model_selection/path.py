"""Fits along a path of a hyper: each starts where the two before it point to.

The secant predictor of numerical continuation, with the logarithm of the hyper for the time.

Reference: E. Allgower, K. Georg, Numerical Continuation Methods, 1990, chapter 2; M. Park,
T. Hastie, L1-regularization path algorithm for generalized linear models, J. R. Statist. Soc. B
69 (2007), section 2.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Float

__all__ = ["follow"]


class _Point(NamedTuple):
    at: Float[Array, ""]
    params: Any


def follow(
    fit: Callable[[Any, Any], tuple[Any, Any]], values: Float[Array, " h"], start: Any
) -> Any:
    """What `fit` makes of all places in `values`, one after the other.

    Args:
      fit: `(i, start) -> (params, outcome)`.
      values: positive, of the hyper; the nearer neighbours are, the more a start is worth.
      start: params, of the first fit.

    Returns:
      The outcomes, leaves `[h ...]`.
    """
    at = jnp.nan_to_num(jnp.log(values))
    begin = _Point(at[0], start)

    def step(points, i):
        last, before = points
        params, outcome = fit(i, _ahead(last, before, at[i]))
        return (_Point(at[i], params), last), outcome

    return jax.lax.scan(step, (begin, begin), jnp.arange(len(values)))[1]


def _ahead(last, before, at):
    """On the line through two points, beyond the last by no more than these are apart."""
    gap = last.at - before.at
    share = jnp.where(gap > 0, (at - last.at) / gap, 0).clip(0, 1)

    def extended(new, old):
        ahead = new + share.astype(new.dtype) * (new - old)
        return jnp.nan_to_num(ahead, nan=0, posinf=0, neginf=0)  # after a fit that diverged

    return jax.tree.map(extended, last.params, before.params)
