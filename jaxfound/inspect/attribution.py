"""Which inputs a score depends on: its gradient at a row, and along a path to that row."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxfound._show import as_table
from jaxfound._types import Array, Float, Int

__all__ = ["Attributions", "Scorer", "input_gradients", "integrated_gradients"]

Scorer = Callable[[Any, Any], Any]  # (params, x `[n ...]`) -> `[n]` or `[n k]`, row by row


class Attributions(NamedTuple):
    values: Float[Array, "n ..."]  # in units of the score, one number an input
    residual: Float[Array, " n"]  # what the values lack to the whole difference of scores

    _repr_html_ = as_table


@partial(jax.jit, static_argnames="scorer")
def input_gradients(
    scorer: Scorer, params: Any, x: Float[Array, "n ..."], target: Int[Array, "*n"] | None = None
) -> Float[Array, "n ..."]:
    r"""$\partial s_t(x_i) / \partial x_i$ for every row: how the score moves with each input.

    Args:
      scorer: of `(params, x)`; static.
      params: of the fitted model.
      x: rows of any shape.
      target: which of k scores, one index or one a row; None is the largest of each row.

    Returns:
      An array like `x`, in units of the score per unit of the input.

    Reference: K. Simonyan, A. Vedaldi, A. Zisserman, Deep inside convolutional networks, ICLR
    workshop 2014, section 3.
    """
    target = _targets(scorer(params, x), target)
    return jax.grad(lambda x: _chosen(scorer(params, x), target).sum())(x)


@partial(jax.jit, static_argnames=("scorer", "n_steps"))
def integrated_gradients(
    scorer: Scorer,
    params: Any,
    x: Float[Array, "n ..."],
    baseline: Float[Array, "..."] | None = None,
    target: Int[Array, "*n"] | None = None,
    *,
    n_steps: int = 32,
) -> Attributions:
    r"""$(x - x_0) \odot \int_0^1 \nabla s_t(x_0 + a (x - x_0))\, da$.

    The values of a row add up to $s_t(x) - s_t(x_0)$. The integral is taken by Gauss-Legendre
    quadrature, so a smooth score leaves hardly any residual; one with kinks, of a ReLU network
    say, leaves a residual that falls slowly with `n_steps`.

    Args:
      scorer, params, x, target: as for `input_gradients`.
      baseline: $x_0$, one row or one a row of `x`; None is zero.
      n_steps: gradients along the path.

    Reference: M. Sundararajan, A. Taly, Q. Yan, Axiomatic attribution for deep networks, ICML
    2017, eq. 1 and proposition 1.
    """
    start = jnp.broadcast_to(jnp.zeros_like(x) if baseline is None else baseline, x.shape)
    here = scorer(params, x)
    target = _targets(here, target)
    nodes, shares = np.polynomial.legendre.leggauss(n_steps)

    def add(total, step):
        place, share = step
        slope = input_gradients(scorer, params, start + place * (x - start), target)
        return total + share * slope, None

    steps = jnp.asarray((nodes + 1) / 2, x.dtype), jnp.asarray(shares / 2, x.dtype)
    values = (x - start) * jax.lax.scan(add, jnp.zeros_like(x), steps)[0]
    difference = _chosen(here, target) - _chosen(scorer(params, start), target)
    return Attributions(values, difference - values.reshape(len(x), -1).sum(1))


def _targets(scores, target):
    if scores.ndim == 1:
        return None
    target = scores.argmax(1) if target is None else jnp.asarray(target)
    return jnp.broadcast_to(target, scores.shape[:1])


def _chosen(scores, target):
    return scores if target is None else jnp.take_along_axis(scores, target[:, None], 1)[:, 0]
