"""Ordinary least squares: ridge regression without a penalty, and its gradient descent."""

from functools import partial
from typing import NamedTuple

import jax

from jaxfound._show import as_table
from jaxfound._types import Array, Float, Info, Key, Shaped
from jaxfound.models import ridge
from jaxfound.models.ridge import SOLVERS, Config, Params, in_lock_step, predict

__all__ = [
    "SOLVERS",
    "Config",
    "Hyper",
    "Params",
    "fit",
    "in_lock_step",
    "objective",
    "predict",
]


class Hyper(NamedTuple):
    tol: Float[Array, ""] | float = 1e-6  # of the iterative solvers
    learning_rate: Float[Array, ""] | float = 0.01  # of `gd`

    _repr_html_ = as_table


def objective(
    params: Params,
    x: Float[Array, "n d"],
    y: Float[Array, "n *k"],
    weight: Float[Array, " n"],
    hyper: Hyper = Hyper(),
    *,
    config: Config = Config(),
) -> Float[Array, ""]:
    r"""$\\sum_i w_i \\|y_i - x_i^\\top\\beta - b\\|^2$, a sum without a half."""
    return ridge.objective(params, x, y, weight, _unpenalised(hyper), config=config)


@partial(jax.jit, static_argnames="config")
def fit(
    x: Float[Array, "n d"],
    y: Float[Array, "n *k"],
    weight: Shaped[Array, " n"] | None = None,
    hyper: Hyper = Hyper(),
    key: Key | None = None,
    *,
    config: Config = Config(),
) -> tuple[Params, Info]:
    """Minimises `objective` by any solver of `ridge`; see there for them and the arguments.

    Returns:
      `(Params, Info)`. A singular design gives the minimum-norm coefficients and `Info.rank < d`.
      For `gd`, `Info.trajectory` holds half the mean squared error before each step.

    Example:
      >>> params, info = fit(x, y)
      >>> line, curve = fit(x, y, hyper=Hyper(learning_rate=0.1), config=Config("gd", max_iter=500))

    Reference: T. Hastie, R. Tibshirani, J. Friedman, The Elements of Statistical Learning,
    2nd ed., eq. 3.6.
    """
    return ridge.fit(x, y, weight, _unpenalised(hyper), key, config=config)


def _unpenalised(hyper):
    return ridge.Hyper(0.0, hyper.tol, hyper.learning_rate)
