"""The few names that every room of the house shares.

Axis legend, used in every annotation and docstring:
`n` rows, `d` features, `k` outputs or classes, `t` trees, `s` nodes, `f` folds, `h` hypers.
"""

from typing import NamedTuple

import jax
from jaxtyping import Array, Bool, Float, Int, Shaped

from jaxfound._show import as_table

__all__ = ["Array", "Bool", "Float", "Info", "Int", "Key", "Shaped"]

Key = jax.Array  # a typed key from `jax.random.key`; models that draw nothing accept and drop it


class Info(NamedTuple):
    """How a fit ended. Nothing unconverged is silent: the estimators turn it into a warning."""

    n_iter: Int[Array, ""]  # iterations of the solver that ran; 0 for a closed form
    converged: Bool[Array, ""]
    value: Float[Array, ""]  # the objective at the solution
    residual: Float[Array, ""]  # the solver's own measure of what is left, compared with `tol`
    solver: Int[Array, ""]  # what ran, an index into the model's `SOLVERS`
    condition: Float[Array, ""] | None = None  # estimated condition number, closed forms only
    rank: Int[Array, ""] | None = None  # numerical rank of the centred design, closed forms only
    trajectory: Float[Array, " i"] | None = None  # the loss before each step, `gd` only

    _repr_html_ = as_table
