"""Prediction intervals for any regression, from rows held out: cross-conformal prediction."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._show import as_table
from jaxfound._types import Array, Float, Shaped
from jaxfound.numerics.branch import lane_by_lane
from jaxfound.numerics.reduce import ones_like_rows, present

__all__ = ["Intervals", "cross_conformal"]


class Intervals(NamedTuple):
    prediction: Float[Array, " m"]  # of the fit to all rows
    low: Float[Array, " m"]
    high: Float[Array, " m"]

    _repr_html_ = as_table


@partial(jax.jit, static_argnames=("model", "config"))
def cross_conformal(
    model: Any,
    x: Float[Array, "n d"],
    y: Float[Array, " n"],
    x_new: Float[Array, "m d"],
    held_out: Shaped[Array, "f n"],
    weight: Shaped[Array, " n"] | None = None,
    hyper: Any = None,
    *,
    level: Float[Array, ""] | float = 0.9,
    config: Any = None,
) -> Intervals:
    r"""Intervals (CV+) around predictions for `x_new`, from residuals of rows held out.

    Every row $i$ has a residual $R_i = |y_i - \hat f_{-k(i)}(x_i)|$ of the fit that did not see its
    fold. With $\alpha = 1 -$ `level`, the interval at $x$ runs from the
    $\lfloor\alpha(n+1)\rfloor$-th smallest of $\hat f_{-k(i)}(x) - R_i$ to the
    $\lceil(1-\alpha)(n+1)\rceil$-th smallest of $\hat f_{-k(i)}(x) + R_i$. Nothing is assumed of
    the model or the noise, only that rows are exchangeable: coverage is at least
    $1 - 2\alpha - \sqrt{2/n}$, and near `level` in practice. With one row a fold it is jackknife+.

    Args:
      model: a module of `jaxfound.models` with `fit` and `predict`, or a `Pipeline`; static.
      x, y, weight, hyper, config: as for `model.fit`; defaults if None.
      x_new: where to predict.
      held_out: masks of the folds, such as `model_selection.folds.k_fold(n).test`.
      level: probability aimed at; an end is infinite where the rows are too few for it.

    Reference: R. Barber, E. Candès, A. Ramdas, R. Tibshirani, Predictive inference with the
    jackknife+, Ann. Statist. 49 (2021), section 3.1 (theorem 4).
    """
    weight = ones_like_rows(x, weight)
    held_out = jnp.asarray(held_out, x.dtype)
    both = jnp.concatenate([present(weight, x), x_new])

    def predictions(weight, x, y, both, hyper):
        settings = {} if config is None else {"config": config}
        given = () if hyper is None else (hyper,)
        return model.predict(model.fit(x, y, weight, *given, **settings)[0], both)

    weights = jnp.concatenate([weight[None] * (1 - held_out), weight[None]])
    lanes = jax.vmap(lane_by_lane(predictions), (0, None, None, None, None))
    *_, whole = found = lanes(weights, x, y, both, hyper)
    fold = held_out.argmax(0)
    of_row = found[fold]  # [n n+m]: row i, the fit that did not see it
    residual = jnp.abs(present(weight, y) - jnp.diagonal(of_row[:, : len(x)]))
    centre = of_row[:, len(x) :].T
    alpha, places = 1 - jnp.asarray(level, x.dtype), weight.sum() + 1
    rank = partial(_ranked, weight=weight)
    low = jax.vmap(partial(rank, k=_whole_part(alpha * places)))(centre - residual[None])
    high = jax.vmap(partial(rank, k=-_whole_part(-(1 - alpha) * places)))(centre + residual[None])
    return Intervals(whole[len(x) :], low, high)


def _whole_part(number):
    # 0.9 * 10 is 9, whatever its rounding in float32.
    return jnp.floor(number + 1e-4)


def _ranked(values, weight, k):
    """The k-th smallest, each counted as often as it weighs; infinite outside 1 .. n."""
    order = jnp.argsort(values)
    counts = jnp.cumsum(weight[order])
    place = jnp.searchsorted(counts, k - 1e-3)
    known = values[order].at[jnp.minimum(place, len(values) - 1)].get()
    return jnp.where(k < 1, -jnp.inf, jnp.where(k > counts[-1] + 1e-3, jnp.inf, known))
