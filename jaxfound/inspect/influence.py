r"""What a single training row does to a fit, without leaving it out.

A row is left out by giving it weight 0, and a fit is differentiable in its weights. So the change
of any quantity $q(\hat\theta)$ is, to first order,
$-w_i\, \partial q(\hat\theta(w)) / \partial w_i$: one solve with the Hessian for all rows.

Reference: R. Cook, S. Weisberg, Residuals and Influence in Regression, 1982, section 3.2;
P. Koh, P. Liang, Understanding black-box predictions via influence functions, ICML 2017, eq. 2.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from jaxfound._types import Array, Float, Shaped
from jaxfound.numerics.branch import lane_by_lane
from jaxfound.numerics.reduce import ones_like_rows

__all__ = ["influence", "left_out"]

_Quantity = Callable[..., Any]  # (params, *given) -> a number or an array


@partial(jax.jit, static_argnames=("quantity", "model", "config"))
def influence(
    quantity: _Quantity,
    model: Any,
    x: Float[Array, "n d"],
    y: Shaped[Array, " n"],
    weight: Shaped[Array, " n"] | None = None,
    hyper: Any = None,
    *given: Any,
    config: Any = None,
) -> Any:
    """How `quantity` would change if each row were left out, to first order.

    Args:
      quantity: of `(params, *given)`, such as the loss on other rows, a number or a tree of
        arrays; static.
      model: a module of `jaxfound.models` whose fit has derivatives, or a `Pipeline`; static.
      x, y, weight, hyper, config: as for `model.fit`; defaults if None.
      *given: what else `quantity` reads: data by argument, so that new data compiles nothing.

    Returns:
      Like the quantity, with a last axis `[n]`, one change a row. The error is of second order:
      it is large for a row that has the fit to itself (a leverage near 1).

    Example:
      >>> moved = influence(lambda params: params.coef, linear, x, y)  # [d n]
    """
    weight = ones_like_rows(x, weight)

    def found(weight):
        return quantity(_fit(model, x, y, weight, hyper, config), *given)

    return jax.tree.map(lambda slope: slope * -_last(weight, slope), jax.jacrev(found)(weight))


@partial(jax.jit, static_argnames=("quantity", "model", "config"))
def left_out(
    quantity: _Quantity,
    model: Any,
    rows: Shaped[Array, " r"],
    x: Float[Array, "n d"],
    y: Shaped[Array, " n"],
    weight: Shaped[Array, " n"] | None = None,
    hyper: Any = None,
    *given: Any,
    config: Any = None,
) -> Any:
    """The change of `quantity` when `rows`, one at a time, really are left out: one fit each.

    Like the quantity, with a first axis `[r]`.
    """
    weight = ones_like_rows(x, weight)

    def found(weight, x, y, hyper, given):
        return quantity(_fit(model, x, y, weight, hyper, config), *given)

    def without(row):
        return lane_by_lane(found)(weight.at[row].set(0), x, y, hyper, given)

    whole = found(weight, x, y, hyper, given)
    return jax.tree.map(lambda own, all_: own - all_[None], jax.vmap(without)(rows), whole)


def _last(weight, slope):
    return weight.reshape(*(1,) * (slope.ndim - 1), -1)


def _fit(model, x, y, weight, hyper, config):
    settings = {} if config is None else {"config": config}
    given = () if hyper is None else (hyper,)
    return model.fit(x, y, weight, *given, **settings)[0]
