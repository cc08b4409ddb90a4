"""Logistic regression, binary and multinomial, with an L2 or elastic-net penalty."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxfound._show import as_table
from jaxfound._types import Array, Float, Info, Int, Key, Shaped
from jaxfound.numerics import gradient, implicit, lbfgs, proximal, softmax
from jaxfound.numerics.mesh import every
from jaxfound.numerics.reduce import (
    ONE_BLOCK,
    finite,
    mean_of_sample,
    ones_like_rows,
    present,
    row_sum,
    times,
)
from jaxfound.numerics.whitening import whitening

__all__ = [
    "PATH",
    "SOLVERS",
    "Config",
    "Hyper",
    "Params",
    "Solver",
    "decision",
    "described",
    "fit",
    "has_minimum",
    "in_lock_step",
    "objective",
    "on_a_path",
    "origin",
    "predict",
    "predict_proba",
    "problem_of",
    "theta_of",
]

SOLVERS = ("newton", "lbfgs", "gd", "proximal")  # what `Info.solver` points into
PATH = "C"  # along which params move little by little

_NEWTON_WORK = 2**27  # products in a Hessian up to which fewer steps win over cheaper ones
_SOFTMAX_WORK = 2**20  # the same for three classes or more, where Newton needs more steps
_SAMPLED_ROWS = 2**15  # rows from which the first steps are taken on a sample
_SAMPLE_STRIDE = 16
_SAMPLE_PENALTY = 1e-4
_LEAST_SAMPLE = 1024  # rows that tell the scales of the features apart
_dot = partial(jnp.matmul, precision="highest")

Solver = Literal["auto", "newton", "lbfgs", "gd", "proximal"]


class Params(NamedTuple):
    coef: Float[Array, "d *k"]  # no class axis in the binary case
    intercept: Float[Array, "*k"]

    _repr_html_ = as_table


class Hyper(NamedTuple):
    C: Float[Array, ""] | float = 1.0  # inverse penalty; infinity for none
    l1_ratio: Float[Array, ""] | float = 0.0  # share of the L1 norm in it; `proximal` only
    tol: Float[Array, ""] | float = 1e-4  # on the gradient of the mean loss
    learning_rate: Float[Array, ""] | float = 0.1  # of `gd`

    _repr_html_ = as_table


@dataclasses.dataclass(frozen=True)
class Config:
    solver: Solver = "auto"
    n_classes: int = 2
    fit_intercept: bool = True
    max_iter: int = 100  # `gd` takes exactly as many steps
    optimizer: Callable[..., optax.GradientTransformation] = optax.sgd  # of `gd`, from its rate


def objective(
    params: Params,
    x: Float[Array, "n d"],
    y: Int[Array, " n"],
    weight: Float[Array, " n"] | None,
    hyper: Hyper = Hyper(),
    *,
    config: Config = Config(),
) -> Float[Array, ""]:
    r"""$\sum_i w_i \ell(y_i, \eta_i) + \frac1C(\frac{1-\rho}2\|\beta\|_2^2 + \rho\|\beta\|_1)$.

    With $\eta = x^\top\beta + b$, $\ell$ is the negative log likelihood of the logistic model,
    $\log(1 + e^\eta) - y\eta$, or of the softmax, $\log\sum_k e^{\eta_k} - \eta_y$.
    """
    del config
    weight = ones_like_rows(x, weight)
    loss = softmax.loss(decision(params, finite(weight, x)), weight, y)
    return loss + _penalty(params.coef, hyper)


@partial(jax.jit, static_argnames="config")
def fit(
    x: Float[Array, "n d"],
    y: Int[Array, " n"],
    weight: Shaped[Array, " n"] | None = None,
    hyper: Hyper = Hyper(),
    key: Key | None = None,
    *,
    start: Params | None = None,
    config: Config = Config(),
) -> tuple[Params, Info]:
    """Minimises `objective`.

    `newton` reads the data a handful of times, each for a Hessian; `lbfgs` more often, each for
    a gradient only, in coordinates that whiten a sample of the rows. `auto` takes the cheaper by
    the shape of the data. Both start from the solution on a sample where rows are many.

    Args:
      x: design, one row a sample.
      y: class indices `0 .. n_classes - 1`.
      weight: 0 means that the row is absent, an integer that it is repeated; None is all ones.
        Class weights are weights of their rows.
      hyper: traced, so a path over `C` is a `vmap` axis and `jax.grad` reaches it.
      key: unused; every model accepts one.
      start: where to start, for example the solution for a neighbouring `C`.
      config: static; holds the number of classes.

    Returns:
      `(Params, Info)`. Separable data without penalty has no minimum: `Info.converged` is False.
      Derivatives are those of the minimiser (of the steps taken, for `gd`).

    Example:
      >>> params, info = fit(x, y, hyper=Hyper(C=10.0), config=Config(n_classes=3))

    Reference: T. Hastie, R. Tibshirani, J. Friedman, The Elements of Statistical Learning,
    2nd ed., eq. 4.20 and 4.26; C. Bishop, Pattern Recognition and Machine Learning, eq. 4.109.
    """
    del key
    weight = None if weight is None else jnp.asarray(weight, x.dtype)
    hyper = jax.tree.map(lambda h: jnp.asarray(h, x.dtype), hyper)
    if config.solver == "gd":
        return _gd(x, y, weight, hyper, origin(x, config) if start is None else start, config)
    return implicit.minimum(
        partial(objective, config=config),
        partial(_solve, start=jax.lax.stop_gradient(start), config=config),
        *(x, y, weight, hyper),
        free=partial(_free, config),
    )


def decision(params: Params, x: Float[Array, "n d"]) -> Float[Array, "n *k"]:
    r"""The linear predictor $x^\top\beta + b$: log odds, or one score a class."""
    return times(x, params.coef) + params.intercept[None]


def predict_proba(params: Params, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
    """Class probabilities, two columns in the binary case."""
    eta = decision(params, x)
    if eta.ndim == 2:
        return jax.nn.softmax(eta)
    return jnp.stack([jax.nn.sigmoid(-eta), jax.nn.sigmoid(eta)], axis=1)


def predict(params: Params, x: Float[Array, "n d"]) -> Int[Array, " n"]:
    """The index of the most probable class."""
    eta = decision(params, x)
    return eta.argmax(1) if eta.ndim == 2 else (eta > 0).astype(int)


def in_lock_step(config: Config, n: int, d: int) -> bool:
    """Whether an experiment fits many penalties at once, which share their passes over the rows.

    That is worth more steps for some where the rows do not fit a cache.
    """
    return n > ONE_BLOCK and _resolve(config, n, d) == "lbfgs"


def on_a_path(config: Config, n: int, d: int) -> bool:
    """Whether an experiment fits penalties in order of `PATH`, each from a start near its end.

    `newton` needs few steps from anywhere, and the last of them reaches far below `tol`.
    """
    return n <= ONE_BLOCK and _resolve(config, n, d) == "lbfgs"


def _penalty(coef, hyper):
    ratio = jnp.asarray(hyper.l1_ratio, coef.dtype)
    norms = (1 - ratio) / 2 * (coef**2).sum() + ratio * jnp.abs(coef).sum()
    return norms / jnp.asarray(hyper.C, coef.dtype)


def origin(x: Float[Array, "n d"], config: Config) -> Params:
    """Params of zero, from which a fit without a `start` sets out."""
    scores = () if config.n_classes == 2 else (config.n_classes,)
    return Params(jnp.zeros(x.shape[1:] + scores, x.dtype), jnp.zeros(scores, x.dtype))


def _free(config, params):
    # Coefficients that an L1 norm holds at zero stay there; others are zero only by accident.
    free = params.coef != 0 if config.solver == "proximal" else jnp.ones_like(params.coef, bool)
    return Params(free, jnp.full_like(params.intercept, config.fit_intercept, bool))


def _solve(x, y, weight, hyper, *, start, config):
    solver = _resolve(config, *x.shape)
    problem = _problem(x, y, weight, hyper, config)
    solve = partial(_SOLVERS[solver], config=config)
    theta = theta_of(origin(x, config) if start is None else start, problem, config=config)
    if start is None and x.shape[0] >= _SAMPLED_ROWS and solver != "proximal":
        theta = solve(_sample(problem), theta, 10 * hyper.tol).params
    found = solve(problem, theta, hyper.tol)
    weight = ones_like_rows(x, weight)
    rows_of_class = jnp.zeros(config.n_classes, x.dtype).at[y].add(weight)
    least = jnp.where(weight > 0, weight, jnp.inf).min()
    sound = has_minimum(found.value * problem.total, rows_of_class, least, hyper, config=config)
    sound &= (hyper.l1_ratio == 0) | (solver == "proximal")
    return described(found, problem, sound, solver, config=config)


def described(
    found: lbfgs.Minimum, problem: softmax.Problem, sound: Any, solver: str, *, config: Config
) -> tuple[Params, Info]:
    """What `fit` returns for the minimum that the solver found, `sound` if there is one."""
    theta = found.params
    if theta.shape[1] > 1:
        # What is common to all classes changes no probability: the least norm has none of it.
        theta = theta - jnp.where(problem.l1 == 0, theta.mean(axis=1, keepdims=True), 0)
    info = Info(
        found.n_iter,
        found.converged & sound,
        found.value * problem.total,
        found.residual,
        jnp.asarray(SOLVERS.index(solver)),
    )
    return _params(theta, problem, config), info


def has_minimum(
    loss: Float[Array, ""],
    rows_of_class: Float[Array, " k"],
    least: Float[Array, ""],
    hyper: Hyper,
    *,
    config: Config,
) -> Array:
    """Whether there is a minimum; `least` is the smallest weight of a row that is present."""
    # An intercept runs off to infinity where a class has no rows, and the coefficients do where
    # nothing holds them and the loss is below what a single wrong row costs.
    missing = (rows_of_class <= 0).any() & config.fit_intercept
    separated = loss < jnp.log(2) * least
    return ~missing & ~(separated & jnp.isinf(hyper.C))


def _resolve(config, n, d):
    if config.solver != "auto":
        return config.solver
    if config.n_classes == 2:
        return "newton" if n * (d + 1) ** 2 <= _NEWTON_WORK else "lbfgs"
    return "newton" if n * ((d + 1) * config.n_classes) ** 2 <= _SOFTMAX_WORK else "lbfgs"


def _problem(x, y, weight, hyper, config):
    shift = mean_of_sample(weight, x) if config.fit_intercept else jnp.zeros(x.shape[1], x.dtype)
    problem = problem_of(ones_like_rows(x, weight).sum(), shift, hyper, config=config)
    return problem._replace(x=x, y=y, weight=weight)


def problem_of(
    total: Float[Array, ""], shift: Float[Array, " d"], hyper: Hyper, *, config: Config
) -> softmax.Problem:
    """The problem of rows that are elsewhere; without an intercept the shift is zero."""
    d = shift.size
    penalised = (jnp.arange(d + config.fit_intercept) < d)[:, None]
    strength = jnp.where(penalised, 1 / (hyper.C * total), 0)
    l2, l1 = (1 - hyper.l1_ratio) * strength, hyper.l1_ratio * strength
    return softmax.Problem(None, None, None, total, shift, l2, l1)


def _sample(problem):
    # A little more penalty, since a sample may be separable where the whole is not.
    x, y, weight = every(_SAMPLE_STRIDE, *problem[:3])
    total, l2 = ones_like_rows(x, weight).sum(), problem.l2 + _SAMPLE_PENALTY
    return problem._replace(x=x, y=y, weight=weight, total=total, l2=l2)


def theta_of(params: Params, problem: softmax.Problem, *, config: Config) -> Float[Array, "m k"]:
    """The unknowns of the problem that are these params."""
    coef, intercept = (p[..., None] if config.n_classes == 2 else p for p in params)
    offset = intercept + _dot(problem.shift, coef)
    return jnp.concatenate([coef, offset[None]]) if config.fit_intercept else coef


def _params(theta, problem, config):
    coef = theta[: problem.shift.size]
    offset = theta[-1] if config.fit_intercept else jnp.zeros_like(theta[0])
    intercept = offset - _dot(problem.shift, coef)
    if config.n_classes == 2:
        return Params(coef[:, 0], intercept[0])
    return Params(coef, intercept - intercept.mean())


def _newton(problem, start, tol, *, config):
    def sums(theta):
        statistic = partial(softmax.second_order, problem, theta)
        return row_sum(statistic, problem.weight, problem.x, problem.y)

    return softmax.by_newton(problem, sums, start, tol, max_iter=config.max_iter)


def _lbfgs(problem, start, tol, *, config):
    # u = theta' L, with L L' about the Hessian at the start on a sample of the rows: in these
    # coordinates the first steps are Newton's, whatever the units of the features. Classes come
    # first in u, as in the products with rows of which it is made.
    lower, back = _whitening(problem, start)
    evaluate = softmax.evaluator(problem)

    def value_and_grad(u):
        value, slope = evaluate(_dot(u, back.T))
        return value, _dot(slope, back)

    found = lbfgs.minimise(
        value_and_grad,
        _dot(start.T, lower),
        tol=tol,
        max_iter=config.max_iter,
        size=lambda grad: lbfgs.largest(_dot(grad, lower.T)),
    )
    return found._replace(params=_dot(found.params, back.T).T)


def _whitening(problem, start):
    n, d = problem.x.shape
    least = max(_LEAST_SAMPLE, 2 * d, n // _SAMPLE_STRIDE)
    weight, x = every(max(1, n // least), problem.weight, problem.x)
    weight = ones_like_rows(x, weight)
    rows = softmax.shifted(present(weight, x), problem)
    bent = weight * softmax.curvature(_dot(start.T, softmax.transposed(rows)))
    curvature = bent.sum() / jnp.maximum(weight.sum(), jnp.finfo(x.dtype).tiny)
    return whitening(rows, bent, problem.l2[:, 0], curvature=curvature)


def _proximal(problem, start, tol, *, config):
    def value_and_grad(flat):
        value, slope = softmax.value_and_slope(problem, flat.reshape(start.shape).T)
        return value, slope.T.ravel()

    def gram(w, x, y):
        rows = softmax.shifted(x, problem)
        return _dot(rows.T, rows * w[:, None])

    second = row_sum(gram, problem.weight, problem.x, problem.y) / problem.total
    scale = jnp.maximum(jnp.diagonal(second), jnp.finfo(second.dtype).tiny)
    largest = jnp.linalg.eigvalsh(second / jnp.sqrt(jnp.outer(scale, scale)))[-1]
    # The Hessian of the loss in the scores is at most 1/4, or 1/2 for the softmax (Böhning, 1992).
    curvature = largest * scale[:, None] / (4 if config.n_classes == 2 else 2)
    found = proximal.minimise(
        value_and_grad,
        start.ravel(),
        jnp.broadcast_to(problem.l1, start.shape).ravel(),
        jnp.broadcast_to(1 / (curvature + problem.l2), start.shape).ravel(),
        tol=tol,
        max_iter=config.max_iter,
    )
    return found._replace(params=found.params.reshape(start.shape))


def _gd(x, y, weight, hyper, start, config):
    weight = ones_like_rows(x, weight)
    loss = partial(_mean_objective, config=config)
    params, trajectory = gradient.descend(
        loss,
        start,
        *(x, y, weight, hyper),
        optimizer=config.optimizer(hyper.learning_rate),
        n_steps=config.max_iter,
    )
    residual = lbfgs.largest(jax.grad(loss)(params, x, y, weight, hyper))
    value = objective(params, x, y, weight, hyper, config=config)
    n_iter, solver = jnp.asarray(config.max_iter), jnp.asarray(SOLVERS.index("gd"))
    info = Info(n_iter, residual <= hyper.tol, value, residual, solver, trajectory=trajectory)
    return params, info


def _mean_objective(params, x, y, weight, hyper, config):
    if not config.fit_intercept:
        params = params._replace(intercept=jnp.zeros_like(params.intercept))
    return objective(params, x, y, weight, hyper, config=config) / weight.sum()


_SOLVERS = {"newton": _newton, "lbfgs": _lbfgs, "proximal": _proximal}
