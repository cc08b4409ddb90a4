"""How a score moves with some columns, the others as they are: one program for the whole grid."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._show import as_table
from jaxfound._types import Array, Float, Int, Shaped
from jaxfound.inspect.attribution import Scorer
from jaxfound.numerics.branch import lane_by_lane
from jaxfound.numerics.reduce import ones_like_rows, present

__all__ = ["Dependence", "partial_dependence"]


class Dependence(NamedTuple):
    average: Float[Array, "g *k"]
    individual: Float[Array, "g n *k"]  # one curve a row

    _repr_html_ = as_table


@partial(jax.jit, static_argnames="scorer")
def partial_dependence(
    scorer: Scorer,
    params: Any,
    x: Float[Array, "n d"],
    columns: Int[Array, " c"],
    points: Float[Array, "g c"],
    weight: Shaped[Array, " n"] | None = None,
) -> Dependence:
    r"""$\bar f(v) = \sum_i w_i f(v, x_{i, \text{rest}}) / \sum_i w_i$ for every point $v$.

    Args:
      scorer: of `(params, x)`; static.
      params: of the fitted model.
      x: rows over which the other columns are averaged.
      columns: which to set; traced, so that another choice compiles nothing.
      points: their values, one row a point of the grid.
      weight: of the rows.

    Reference: J. Friedman, Greedy function approximation, Ann. Statist. 29 (2001), eq. 53; and
    A. Goldstein et al., Peeking inside the black box, J. Comput. Graph. Statist. 24 (2015), for
    the individual curves.
    """
    weight = ones_like_rows(x, weight)
    rows = present(weight, x)

    def at(point, params, rows, columns):
        return scorer(params, rows.at[:, columns].set(point))

    individual = jax.vmap(lane_by_lane(at), (0, None, None, None))(points, params, rows, columns)
    share = weight / weight.sum()
    average = jnp.einsum("n,gn...->g...", share, individual, precision="highest")
    return Dependence(average, individual)
