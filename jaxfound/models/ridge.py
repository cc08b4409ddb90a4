"""Ridge regression: the smallest model, and the shape every other model file takes."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxfound._show import as_table
from jaxfound._types import Array, Float, Info, Key, Shaped
from jaxfound.numerics import conjugate, gradient, implicit, lbfgs, least_squares, nonnegative
from jaxfound.numerics.moments import Moments, moments, sum_of_squares
from jaxfound.numerics.reduce import finite, ones_like_rows, present, times

__all__ = [
    "SOLVERS",
    "Config",
    "Hyper",
    "Params",
    "Solver",
    "fit",
    "from_moments",
    "from_solution",
    "in_lock_step",
    "objective",
    "predict",
]

SOLVERS = ("cholesky", "svd", "cg", "lbfgs", "gd", "nonnegative")  # what `Info.solver` points into
Solver = Literal["auto", "cholesky", "svd", "cg", "lbfgs", "gd"]

_dot = partial(jnp.matmul, precision="highest")


class Params(NamedTuple):
    coef: Float[Array, "d *k"]
    intercept: Float[Array, "*k"]

    _repr_html_ = as_table


class Hyper(NamedTuple):
    l2: Float[Array, "*d"] | float = 1.0  # one number or one a feature; not on the intercept
    tol: Float[Array, ""] | float = 1e-6  # of the iterative solvers, see each
    learning_rate: Float[Array, ""] | float = 0.01  # of `gd`

    _repr_html_ = as_table


@dataclasses.dataclass(frozen=True)
class Config:
    solver: Solver = "auto"
    fit_intercept: bool = True
    positive: bool = False  # coef >= 0, by projected Newton steps whatever the solver
    max_iter: int = 1000  # of the iterative solvers; `gd` takes exactly as many steps
    optimizer: Callable[..., optax.GradientTransformation] = optax.sgd  # of `gd`, from its rate


def objective(
    params: Params,
    x: Float[Array, "n d"],
    y: Float[Array, "n *k"],
    weight: Float[Array, " n"] | None,
    hyper: Hyper,
    *,
    config: Config = Config(),
) -> Float[Array, ""]:
    r"""$\sum_i w_i \|y_i - x_i^\top\beta - b\|^2 + \sum_j \lambda_j \|\beta_j\|^2$.

    A sum over rows, without a half, as in scikit-learn.
    """
    del config
    weight = ones_like_rows(x, weight)
    residual = finite(weight, y) - predict(params, finite(weight, x))
    return _dot(weight, residual**2).sum() + _penalty(hyper, params.coef)


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
    """Minimises `objective`.

    `auto` factors the Gram matrix and refines, and turns to the orthogonal path where that would
    lose digits; under `vmap` only the lanes that need it do. `cholesky` and `svd` name one of
    them. `cg` forms no Gram matrix; `lbfgs` and `gd` need nothing but `objective`.

    Args:
      x: design, one row a sample.
      y: one target `[n]` or several `[n k]`.
      weight: 0 means that the row is absent, an integer that it is repeated; None is all ones.
      hyper: traced, so a grid of penalties is a `vmap` axis and `jax.grad` reaches them.
      key: unused; every model accepts one.

    Returns:
      `(Params, Info)`. A singular design without penalty gives the minimum-norm coefficients and
      `Info.rank < d`. Derivatives are those of the minimiser (of the steps taken, for `gd`).

    Example:
      >>> path = jax.vmap(lambda l2: fit(x, y, hyper=Hyper(l2))[0].coef)(jnp.logspace(-3, 3, 50))

    Reference: T. Hastie, R. Tibshirani, J. Friedman, The Elements of Statistical Learning,
    2nd ed., eq. 3.41.
    """
    del key
    weight = None if weight is None else jnp.asarray(weight, x.dtype)
    hyper = jax.tree.map(lambda h: jnp.asarray(h, x.dtype), hyper)
    if config.solver == "gd":
        return _gd(x, y, weight, hyper, config)
    solve = _nonnegative if config.positive else _SOLVERS[config.solver]
    return implicit.minimum(
        partial(objective, config=config),
        partial(solve, config=config),
        *(x, y, weight, hyper),
        free=partial(_free, config),
    )


def predict(params: Params, x: Float[Array, "n d"]) -> Float[Array, "n *k"]:
    """$x^\\top\\beta + b$, one column a target."""
    return times(x, params.coef) + params.intercept[None]


def in_lock_step(config: Config, n: int, d: int) -> bool:
    """Whether an experiment fits many penalties at once: they end after about as many steps."""
    del config, n, d
    return True


def _zeros(x, y):
    return Params(jnp.zeros(x.shape[1:] + y.shape[1:], x.dtype), jnp.zeros(y.shape[1:], x.dtype))


def _free(config, params):
    # What moves with the data: coefficients off their bound, and an intercept that is fitted.
    coef = params.coef > 0 if config.positive else jnp.ones_like(params.coef, bool)
    return Params(coef, jnp.full_like(params.intercept, config.fit_intercept, bool))


def _closed_form(x, y, weight, hyper, *, config):
    targets = y.reshape(len(y), -1)
    solution = least_squares.solve(
        *(x, targets, weight, hyper.l2), fit_intercept=config.fit_intercept, solver=config.solver
    )
    return from_solution(solution, hyper, y.shape[1:])


def from_solution(
    solution: least_squares.Solution, hyper: Hyper, outputs: tuple[int, ...]
) -> tuple[Params, Info]:
    """What `fit` returns for a closed form; `outputs` is `y.shape[1:]`."""
    rss = sum_of_squares(solution.moments, solution.coef)
    info = Info(
        n_iter=jnp.asarray(0),
        converged=solution.residual <= jnp.sqrt(jnp.finfo(rss.dtype).eps),
        value=rss + _penalty(hyper, solution.coef),
        residual=solution.residual,
        solver=jnp.where(solution.orthogonal, SOLVERS.index("svd"), SOLVERS.index("cholesky")),
        condition=solution.condition,
        rank=solution.rank,
    )
    return _params(solution.coef, solution.intercept, outputs), info


def _cg(x, y, weight, hyper, *, config):
    x, y, weight = present(weight, x), present(weight, y), ones_like_rows(x, weight)
    targets = y.reshape(len(y), -1)
    x_mean, y_mean = _dot(weight, x) / weight.sum(), _dot(weight, targets) / weight.sum()
    if not config.fit_intercept:
        x_mean, y_mean = jnp.zeros_like(x_mean), jnp.zeros_like(y_mean)
    found = conjugate.least_squares(
        *(x, targets, weight, hyper.l2, x_mean, y_mean), tol=hyper.tol, max_iter=config.max_iter
    )
    params = _params(found.coef, y_mean - _dot(x_mean, found.coef), y.shape[1:])
    value = objective(params, x, y, weight, hyper, config=config)
    return params, _info("cg", found.n_iter, found.converged, value, found.residual.max())


def _nonnegative(x, y, weight, hyper, *, config):
    targets = y.reshape(len(y), -1)
    known = moments(x, targets, weight, centre=config.fit_intercept)
    return from_moments(known, hyper, y.shape[1:], config=config)


def from_moments(
    known: Moments, hyper: Hyper, outputs: tuple[int, ...], *, config: Config
) -> tuple[Params, Info]:
    """What `fit` returns for coefficients that may not be negative."""
    # min 1/2 b'(G + Lambda)b - c'b over b >= 0, one program a target.
    gram = known.gram + jnp.diag(jnp.broadcast_to(hyper.l2, known.x_mean.shape))
    solve = partial(nonnegative.minimise, max_iter=config.max_iter)
    found = jax.vmap(solve, (None, 1))(gram, known.cross)
    coef = found.params.T
    params = _params(coef, known.y_mean - _dot(known.x_mean, coef), outputs)
    value = sum_of_squares(known, coef) + _penalty(hyper, coef)
    return params, _info(
        "nonnegative", found.n_iter.max(), found.converged.all(), value, found.residual.max()
    )


def _lbfgs(x, y, weight, hyper, *, config):
    x, y, weight = present(weight, x), present(weight, y), ones_like_rows(x, weight)
    found = lbfgs.minimise(
        jax.value_and_grad(lambda p: _half_mean(p, x, y, weight, hyper, config)),
        _zeros(x, y),
        tol=hyper.tol,
        max_iter=config.max_iter,
    )
    value = objective(found.params, x, y, weight, hyper, config=config)
    return found.params, _info("lbfgs", found.n_iter, found.converged, value, found.residual)


def _gd(x, y, weight, hyper, config):
    weight = ones_like_rows(x, weight)
    loss = partial(_half_mean, config=config)
    params, trajectory = gradient.descend(
        loss,
        _zeros(x, y),
        *(x, y, weight, hyper),
        optimizer=config.optimizer(hyper.learning_rate),
        n_steps=config.max_iter,
    )
    slope = jax.grad(loss)(params, x, y, weight, hyper)
    residual = jnp.maximum(jnp.abs(slope.coef).max(), jnp.abs(slope.intercept).max())
    value = objective(params, x, y, weight, hyper, config=config)
    info = _info("gd", jnp.asarray(config.max_iter), residual <= hyper.tol, value, residual)
    return params, info._replace(trajectory=trajectory)


def _half_mean(params, x, y, weight, hyper, config):
    # The gradient is X'r / n, so a learning rate does not depend on the number of rows.
    if not config.fit_intercept:
        params = params._replace(intercept=jnp.zeros_like(params.intercept))
    return objective(params, x, y, weight, hyper, config=config) / (2 * weight.sum())


def _penalty(hyper, coef):
    squares = (coef**2).reshape(len(coef), -1).sum(1)
    return (jnp.asarray(hyper.l2, coef.dtype) * squares).sum()


def _params(coef, intercept, outputs):
    return Params(coef.reshape(-1, *outputs), intercept.reshape(outputs))


def _info(solver, n_iter, converged, value, residual):
    return Info(n_iter, converged, value, residual, jnp.asarray(SOLVERS.index(solver)))


_SOLVERS = {
    "auto": _closed_form,
    "cholesky": _closed_form,
    "svd": _closed_form,
    "cg": _cg,
    "lbfgs": _lbfgs,
}
