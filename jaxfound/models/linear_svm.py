"""Linear support vector classification in the primal: squared hinge or hinge, one-vs-rest."""

import dataclasses
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._show import as_table
from jaxfound._types import Array, Float, Info, Int, Key, Shaped
from jaxfound.numerics import coordinate, implicit, newton, proximal
from jaxfound.numerics.lbfgs import Minimum
from jaxfound.numerics.reduce import finite, ones_like_rows, present, row_sum

__all__ = ["SOLVERS", "Config", "Hyper", "Params", "decision", "fit", "objective", "predict"]

SOLVERS = ("newton", "proximal", "coordinate")  # what `Info.solver` points into

_dot = partial(jnp.matmul, precision="highest")


class Params(NamedTuple):
    coef: Float[Array, "d *k"]  # no class axis for two classes
    intercept: Float[Array, "*k"]

    _repr_html_ = as_table


class Hyper(NamedTuple):
    C: Float[Array, ""] | float = 1.0  # inverse penalty
    tol: Float[Array, ""] | float = 1e-4  # on the gradient of the mean loss, or on the dual's

    _repr_html_ = as_table


@dataclasses.dataclass(frozen=True)
class Config:
    loss: Literal["squared_hinge", "hinge"] = "squared_hinge"
    penalty: Literal["l2", "l1"] = "l2"  # "l1" with the squared hinge only
    n_classes: int = 2
    fit_intercept: bool = True  # not penalised; with the hinge, give a column of ones instead
    max_iter: int = 1000


def objective(
    params: Params,
    x: Float[Array, "n d"],
    y: Int[Array, " n"],
    weight: Float[Array, " n"] | None,
    hyper: Hyper = Hyper(),
    *,
    config: Config = Config(),
) -> Float[Array, ""]:
    r"""$\sum_i w_i \max(0, 1 - y_i f(x_i))^q + \frac1C P(\beta)$, summed over one-vs-rest classes.

    $q$ is 2 or 1, $P$ is $\tfrac12\|\beta\|_2^2$ or $\|\beta\|_1$, and $y = \pm1$. It is
    scikit-learn's objective divided by C.
    """
    weight = ones_like_rows(x, weight)
    scores = decision(params, finite(weight, x))
    scores = scores[:, None] if scores.ndim == 1 else scores
    loss = _loss(scores, _sides(y, x.dtype, config), config).sum(1)
    norm = jnp.abs(params.coef).sum() if config.penalty == "l1" else (params.coef**2).sum() / 2
    return _dot(weight, loss) + norm / jnp.asarray(hyper.C, x.dtype)


@partial(jax.jit, static_argnames="config")
def fit(
    x: Float[Array, "n d"],
    y: Int[Array, " n"],
    weight: Shaped[Array, " n"] | None = None,
    hyper: Hyper = Hyper(),
    key: Key | None = None,
    *,
    config: Config = Config(),
) -> tuple[Params, Info]:
    """Minimises `objective`.

    The squared hinge takes Newton steps with the Hessian of the rows inside the margin, and
    accelerated proximal steps under an L1 norm; the hinge coordinate steps in the dual.

    Args:
      x: design.
      y: class indices `0 .. n_classes - 1`.
      weight: 0 means that the row is absent, an integer that it is repeated; None is all ones.
      hyper: traced.
      key: unused; every model accepts one.
      config: static; holds loss, penalty and number of classes.

    Returns:
      `(Params, Info)`. Derivatives are those of the minimiser, for the squared hinge.

    Raises:
      ValueError: for an L1 norm, or an intercept, together with the hinge.
      NotImplementedError: when a derivative through the hinge is asked for.

    Example:
      >>> params, info = fit(x, y, hyper=Hyper(C=10.0))

    References: S. Keerthi, D. DeCoste, A modified finite Newton method for fast solution of large
    scale linear SVMs, JMLR 6 (2005), eq. 6; C.-J. Hsieh et al., A dual coordinate descent method
    for large-scale linear SVM, ICML 2008, algorithm 1.
    """
    del key
    weight = ones_like_rows(x, weight)
    hyper = jax.tree.map(lambda h: jnp.asarray(h, x.dtype), hyper)
    if config.loss == "hinge":
        if config.penalty == "l1" or config.fit_intercept:
            raise ValueError(
                "loss is 'hinge', expected penalty='l2' and fit_intercept=False with it: append a "
                "column of ones to x, or take loss='squared_hinge'."
            )
        return _through_dual(x, y, weight, hyper, config)
    return implicit.minimum(
        partial(objective, config=config),
        partial(_solve, config=config),
        *(x, y, weight, hyper),
        free=partial(_free, config),
    )


def decision(params: Params, x: Float[Array, "n d"]) -> Float[Array, "n *k"]:
    r"""$x^\top\beta + b$: positive for the second of two classes, or one score a class."""
    return _dot(x, params.coef) + params.intercept[None]


def predict(params: Params, x: Float[Array, "n d"]) -> Int[Array, " n"]:
    """The index of the class with the largest score."""
    scores = decision(params, x)
    return scores.argmax(1) if scores.ndim == 2 else (scores > 0).astype(int)


def _sides(y, dtype, config):
    """One-vs-rest targets: 1 for the class, else -1."""
    least = 1 if config.n_classes == 2 else 0
    classes = jnp.arange(least, config.n_classes)
    return jnp.where(y[:, None] == classes[None].astype(y.dtype), 1, -1).astype(dtype)


def _loss(scores, side, config):
    short = jnp.maximum(1 - side * scores, 0)
    return short if config.loss == "hinge" else short**2


def _free(config, params):
    free = params.coef != 0 if config.penalty == "l1" else jnp.ones_like(params.coef, bool)
    return Params(free, jnp.full_like(params.intercept, config.fit_intercept, bool))


def _solve(x, y, weight, hyper, *, config):
    solver = "proximal" if config.penalty == "l1" else "newton"
    solve = partial(_SOLVERS[solver], x, weight, hyper, config)
    sides = _sides(y, x.dtype, config)
    found = jax.vmap(solve)(sides.T)
    return _finished(found, solver, x, y, weight, hyper, config)


def _finished(found, solver, x, y, weight, hyper, config):
    d = x.shape[1]
    theta = found.params[0] if config.n_classes == 2 else found.params.T
    intercept = theta[d] if config.fit_intercept else jnp.zeros_like(theta[0])
    params = Params(theta[:d], intercept)
    value = objective(params, x, y, weight, hyper, config=config)
    classes = jnp.arange(config.n_classes).astype(y.dtype)
    known = ((y[None] == classes[:, None]) & (weight > 0)[None]).any(1).all()
    return params, Info(
        n_iter=found.n_iter.max(),
        converged=found.converged.all() & known & jnp.isfinite(value),
        value=value,
        residual=found.residual.max(),
        solver=jnp.asarray(SOLVERS.index(solver)),
    )


def _rows(x, config):
    return jnp.pad(x, ((0, 0), (0, 1)), constant_values=1) if config.fit_intercept else x


def _penalised(x, config):
    return (jnp.arange(x.shape[1] + config.fit_intercept) < x.shape[1]).astype(x.dtype)


def _newton(x, weight, hyper, config, side):
    total, penalised = weight.sum(), _penalised(x, config)

    def statistic(theta, w, x, side):
        rows = _rows(x, config)
        short = jnp.maximum(1 - side * _dot(rows, theta), 0)
        bent = rows * (2 * w * (short > 0).astype(x.dtype))[:, None]
        return (w * short**2).sum(), _dot(rows.T, -2 * w * side * short), _dot(rows.T, bent)

    def derivatives(theta):
        sums = row_sum(partial(statistic, theta), weight, x, side)
        value, slope, hessian = (s / total for s in sums)
        ridge = penalised / (hyper.C * total)
        value += (ridge * theta**2).sum() / 2
        return value, slope + ridge * theta, hessian + jnp.diag(ridge)

    start = jnp.zeros_like(penalised)
    return newton.minimise(derivatives, start, tol=hyper.tol, max_iter=config.max_iter)


def _proximal(x, weight, hyper, config, side):
    total, penalised = weight.sum(), _penalised(x, config)

    def statistic(theta, w, x, side):
        rows = _rows(x, config)
        short = jnp.maximum(1 - side * _dot(rows, theta), 0)
        return (w * short**2).sum(), _dot(rows.T, -2 * w * side * short)

    def value_and_grad(theta):
        sums = row_sum(partial(statistic, theta), weight, x, side)
        return sums[0] / total, sums[1] / total

    def gram(w, x):
        rows = _rows(x, config)
        return _dot(rows.T, rows * w[:, None])

    second = row_sum(gram, weight, x) / total
    scale = jnp.maximum(jnp.diagonal(second), jnp.finfo(second.dtype).tiny)
    largest = jnp.linalg.eigvalsh(second / jnp.sqrt(jnp.outer(scale, scale)))[-1]
    return proximal.minimise(
        value_and_grad,
        jnp.zeros_like(penalised),
        penalised / (hyper.C * total),
        1 / (2 * largest * scale),
        tol=hyper.tol,
        max_iter=config.max_iter,
    )


@partial(jax.custom_jvp, nondiff_argnums=(4,))
def _through_dual(x, y, weight, hyper, config):
    def solve(side):
        rows = present(weight, x)
        return coordinate.hinge(
            rows * side[:, None], hyper.C * weight, tol=hyper.tol, max_iter=config.max_iter
        )

    found: Minimum = jax.vmap(solve)(_sides(y, x.dtype, config).T)
    return _finished(found, "coordinate", x, y, weight, hyper, config)


@_through_dual.defjvp
def _(config, primals, tangents):
    raise NotImplementedError(
        "the hinge has no second derivative, so that the fit has none: take "
        "loss='squared_hinge', or `svm.fit` with kernel='linear'."
    )


_SOLVERS = {"newton": _newton, "proximal": _proximal}
