"""How much of a score is lost when a column is shuffled: all columns and repeats, one program."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._show import as_table
from jaxfound._types import Array, Float, Int, Shaped
from jaxfound.numerics.branch import lane_by_lane
from jaxfound.numerics.reduce import ones_like_rows

__all__ = ["Importances", "permutation_importance"]


class Importances(NamedTuple):
    mean: Float[Array, " d"]
    std: Float[Array, " d"]  # over repeats, divided by r
    values: Float[Array, "d r"]  # the score of `x` less that with the column shuffled

    _repr_html_ = as_table


@partial(jax.jit, static_argnames="score")
def permutation_importance(
    score: Callable[..., Float[Array, ""]],
    params: Any,
    x: Float[Array, "n d"],
    y: Shaped[Array, " n"],
    permutations: Int[Array, "r n"],
    weight: Shaped[Array, " n"] | None = None,
) -> Importances:
    """The drop of `score(params, x, y, weight)` when the rows of one column change places.

    A column that carries what another carries too seems unimportant: only one is shuffled.

    Args:
      score: greater is better; static.
      params: of the fitted model.
      x, y: rows that the model has not seen, for what holds in general.
      permutations: of the rows, the same for all columns.
      weight: of the rows in the score.

    Example:
      >>> keys = jax.random.split(jax.random.key(0), 10)
      >>> orders = jax.vmap(lambda key: jax.random.permutation(key, len(x)))(keys)
      >>> lost = permutation_importance(score, params, x, y, orders).mean  # [d]

    Reference: L. Breiman, Random forests, Machine Learning 45 (2001), section 10; with these
    permutations the numbers of `sklearn.inspection.permutation_importance`.
    """
    weight = ones_like_rows(x, weight)

    def shuffled(column, order, params, x, y, weight):
        return score(params, x.at[:, column].set(x[order, column]), y, weight)

    lane = lane_by_lane(shuffled)
    repeats = jax.vmap(lane, (None, 0, None, None, None, None))
    scores = jax.vmap(repeats, (0, None, None, None, None, None))(
        jnp.arange(x.shape[1]), permutations, params, x, y, weight
    )
    values = score(params, x, y, weight) - scores
    return Importances(values.mean(1), values.std(1), values)
