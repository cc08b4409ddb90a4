"""Support vector machines: C-classification (one-vs-one) and epsilon-regression, with kernels."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._show import as_table
from jaxfound._types import Array, Float, Info, Int, Key, Shaped
from jaxfound.numerics import dual, kernels, kkt
from jaxfound.numerics.branch import lane_by_lane
from jaxfound.numerics.dual_driver import solve, whole_gram, widest
from jaxfound.numerics.implicit import with_derivatives_of
from jaxfound.numerics.mesh import shards
from jaxfound.numerics.pairs import class_pairs, rows_of_class, votes
from jaxfound.numerics.reduce import finite, mean_of_sample, ones_like_rows

__all__ = [
    "SHARED_BY",
    "SOLVERS",
    "Config",
    "Hyper",
    "Params",
    "choose",
    "decision",
    "fit",
    "fit_with_scores",
    "objective",
    "predict",
    "require_derivatives",
    "scale_gamma",
    "shared",
]

SOLVERS = ("smo",)  # what `Info.solver` points into
SHARED_BY = ("gamma", "coef0")  # what fits that share `shared` have in common

_dot = partial(jnp.matmul, precision="highest")


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Config:
    # "linear", "rbf", "poly", "sigmoid", "precomputed" (x is a Gram matrix, and what is predicted
    # are rows of one), or a JAX function of two rows `[d]`
    kernel: str | Callable[..., Any] = "rbf"
    degree: int | float = 3  # of "poly"
    task: Literal["classification", "regression"] = "classification"
    n_classes: int = 2
    # At least the rows of the largest class, present ones: pairs of classes are then cut out of
    # the data. None keeps all rows in every pair.
    class_rows: int | None = None
    max_iter: int | None = None  # steps in a pair; None is a bound far beyond what is needed


class Hyper(NamedTuple):
    C: Float[Array, ""] | float = 1.0  # inverse penalty; the box of a row is C times its weight
    gamma: Float[Array, ""] | float | None = None  # None: `scale_gamma` of the data
    coef0: Float[Array, ""] | float = 0.0  # of "poly" and "sigmoid"
    epsilon: Float[Array, ""] | float = 0.1  # half the width of the tube of the regression
    tol: Float[Array, ""] | float = 1e-3  # gap of the optimality conditions

    _repr_html_ = as_table


class Params(NamedTuple):
    dual: Float[Array, "*p n"]  # one row a pair of classes; no axis for two, or for regression
    intercept: Float[Array, "*p"]
    x: Float[Array, "n d"]  # the rows, about `shift`; only those with a dual matter
    shift: Float[Array, " d"]
    scales: kernels.Scales
    config: Config  # static: no leaf of the tree

    _repr_html_ = as_table


def objective(
    params: Params,
    x: Float[Array, "n d"],
    y: Shaped[Array, " n"],
    weight: Float[Array, " n"] | None,
    hyper: Hyper = Hyper(),
    *,
    config: Config = Config(),
) -> Float[Array, ""]:
    r"""$\sum_i w_i \ell_i + \frac1{2C}\|f\|^2$, for every pair of classes.

    The loss is the hinge $\max(0, 1 - y_i f(x_i))$ with $y = \pm1$, or
    $\max(0, |y_i - f(x_i)| - \epsilon)$; $\|f\|^2 = \beta^\top K\beta$. It is scikit-learn's
    objective divided by C.
    """
    weight = ones_like_rows(x, weight)
    scores = _columns(decision(params, finite(weight, x)))
    targets, inside = _targets(finite(weight, y.astype(x.dtype)), config)
    loss = _loss(scores, targets, jnp.asarray(hyper.epsilon, x.dtype), config)
    beta = jnp.atleast_2d(params.dual).T
    images = kernels.product(_kernel(config), params.scales, params.x, params.x, beta)
    norm = (beta * images).sum()
    return _dot(weight, jnp.where(inside, loss, 0)).sum() + norm / (2 * hyper.C)


@partial(jax.jit, static_argnames="config")
def fit(
    x: Float[Array, "n d"],
    y: Shaped[Array, " n"],
    weight: Shaped[Array, " n"] | None = None,
    hyper: Hyper = Hyper(),
    key: Key | None = None,
    *,
    config: Config = Config(),
) -> tuple[Params, Info]:
    r"""Minimises `objective` through its dual.

    Pairs of rows move until the gap of the optimality conditions is `hyper.tol`; above about 1500
    rows inside blocks, with O(n) memory. The kernel is computed in float32 until its rounding
    would show in the gap, and in the widest dtype then: with `jax.enable_x64` the gap holds at
    C = 1000 for float32 data as well.

    Args:
      x: design `[n d]`, or a Gram matrix `[n n]` for a precomputed kernel.
      y: class indices `0 .. n_classes - 1`, or targets.
      weight: 0 means that the row is absent, an integer that it is repeated; None is all ones.
        It scales C row by row; class weights are weights of their rows.
      hyper: traced, so that a grid is a `vmap` axis; on a CPU its lanes run one by one, and each
        takes its own time.
      key: unused; every model accepts one.
      config: static; holds kernel, task and number of classes.

    Returns:
      `(Params, Info)`, `Info.n_iter` for every pair of classes. A class without rows gives
      `Info.converged = False`. Derivatives to hyper, weight, `x` and targets are those of the
      solution; they are NaN where it has a kink (no free row, or a row on the edge of its box
      that nothing holds there), for which no error can be raised inside a `jit`.

    Example:
      >>> params, info = fit(x, y, hyper=Hyper(C=10.0), config=Config(n_classes=3))

    Reference: C.-C. Chang, C.-J. Lin, LIBSVM, 2011, eq. 2 and 6, and section 7 (one-vs-one).
    """
    del key
    params, info, _ = _fit(x, y, weight, hyper, config, None)
    return params, info


@partial(jax.jit, static_argnames="config")
def fit_with_scores(
    x: Float[Array, "n d"],
    y: Shaped[Array, " n"],
    weight: Shaped[Array, " n"] | None = None,
    hyper: Hyper = Hyper(),
    gram: Float[Array, "m m"] | None = None,
    *,
    config: Config = Config(),
) -> tuple[Params, Info, Float[Array, "n *p"]]:
    """`fit`, and the `decision` for every row, absent ones included, at no further cost.

    With folds as weights that is a cross-validation without a prediction.

    Args:
      x, y, weight, hyper, config: as for `fit`.
      gram: what `shared` gives, where several fits share it.

    Raises:
      ValueError: for `class_rows`, with which a pair of classes sees no other rows.
    """
    if config.class_rows is not None:
        raise ValueError(
            f"class_rows is {config.class_rows}, expected None: call fit and decision."
        )
    params, info, scores = _fit(x, y, weight, hyper, config, gram)
    return params, info, _known_decision(params, x, scores.astype(x.dtype))


def shared(
    x: Float[Array, "n d"],
    weight: Float[Array, " n"] | None = None,
    hyper: Hyper = Hyper(),
    *,
    config: Config = Config(),
) -> Float[Array, "m m"] | None:
    """The Gram matrix of fits that differ in their hypers but not in `SHARED_BY`.

    Padded and in float32; None where it would not stay in a cache.
    """
    rows, _, scales, _ = _prepared(x, ones_like_rows(x, weight), hyper, config)
    return whole_gram(_kernel(config), scales, rows)


def _fit(x, y, weight, hyper, config, gram):
    if shards() > 1:
        raise ValueError(
            f"svm.fit was called inside a mesh of {shards()} devices, expected one: in the dual "
            "every row meets every other. Fit outside jax.set_mesh, or spread candidates instead."
        )
    weight, kernel = ones_like_rows(x, weight), _kernel(config)
    rows, shift, scales, hyper = _prepared(x, weight, hyper, config)
    if gram is None and not _is_cut(config):
        gram = whole_gram(kernel, scales, rows)
    beta, intercept, info, scores = _fit_pairs(kernel, scales, rows, gram, y, weight, hyper, config)
    info, scores = _total(info), scores.T
    if config.task == "regression" or config.n_classes == 2:
        beta, intercept, info = beta[0], intercept[0], info._replace(n_iter=info.n_iter[0])
        scores = scores[:, 0]
    narrow = partial(jax.tree.map, lambda leaf: leaf.astype(x.dtype))
    info = info._replace(value=info.value.astype(x.dtype), residual=info.residual.astype(x.dtype))
    beta, intercept, rows, shift, scales = narrow((beta, intercept, rows, shift, scales))
    return Params(beta, intercept, rows, shift, scales, config), info, scores


def _prepared(x, weight, hyper, config):
    """The rows about a shift, that shift, the scales of the kernel, and a hyper of arrays."""
    shift = jax.lax.stop_gradient(_shift(x, weight, _kernel(config)))
    gamma = scale_gamma(x, weight) if hyper.gamma is None else hyper.gamma
    hyper = jax.tree.map(lambda h: jnp.asarray(h, widest()), hyper._replace(gamma=gamma))
    return finite(weight, x) - shift[None], shift, kernels.Scales(hyper.gamma, hyper.coef0), hyper


def require_derivatives(
    x: Float[Array, "n d"],
    y: Shaped[Array, " n"],
    weight: Shaped[Array, " n"] | None = None,
    hyper: Hyper = Hyper(),
    *,
    config: Config = Config(),
) -> None:
    """Fits to concrete data and complains where derivatives through the fit are NaN.

    Raises:
      ValueError: if the active set is degenerate: no free row, or one about to leave its edge.
    """

    def total(hyper):
        params, _ = fit(x, y, weight, hyper, config=config)
        return sum(leaf.sum() for leaf in (params.dual, params.intercept))

    slopes = jax.grad(total)(jax.tree.map(lambda h: jnp.asarray(h, x.dtype), hyper))
    if not jnp.isfinite(slopes.C):
        raise ValueError(
            "the fit has no derivative here, expected one: its active set is degenerate (no row "
            "lies on the margin, or one is about to leave it). Move C or gamma a little, or ask "
            "for a smaller tol."
        )


def decision(params: Params, x: Float[Array, "n d"]) -> Float[Array, "n *p"]:
    r"""$\sum_i \beta_i k(x_i, x) + b$: positive for the second class of a pair."""
    x = x if params.config.kernel == "precomputed" else x - params.shift[None]
    images = kernels.product(_kernel(params.config), params.scales, x, params.x, params.dual.T)
    return images + params.intercept[None]


def predict(params: Params, x: Float[Array, "n d"]) -> Shaped[Array, " n"]:
    """The index of the class with most votes, the first of them at a tie; or the target."""
    return choose(decision(params, x), params.config)


# The solver ends with these scores, but derivatives do not go through a solver.
_known_decision = with_derivatives_of(
    lambda params, x, scores: decision(params, x), lambda params, x, scores: scores
)


def choose(scores: Float[Array, "n *p"], config: Config) -> Shaped[Array, " n"]:
    """What `predict` makes of decisions."""
    if config.task == "regression":
        return scores
    return votes(_columns(scores), config.n_classes).argmax(1)


def scale_gamma(x: Float[Array, "n d"], weight: Float[Array, " n"]) -> Float[Array, ""]:
    """One over the number of columns times the weighted variance of all entries; else 1."""
    rows = finite(weight, x)
    rows = rows - jax.lax.stop_gradient(mean_of_sample(weight, rows).mean())
    share = weight / jnp.maximum(weight.sum(), jnp.finfo(x.dtype).tiny)
    mean = _dot(share, rows.mean(1))
    variance = _dot(share, ((rows - mean) ** 2).mean(1))
    return jnp.where(variance > 0, 1 / (x.shape[1] * jnp.where(variance > 0, variance, 1)), 1)


def _shift(x, weight, kernel):
    """The means of columns that lie far from zero, where distances would lose digits."""
    mean = mean_of_sample(weight, x)
    variance = mean_of_sample(weight, (x - mean[None]) ** 2)
    far = (mean**2 > variance) & kernels.is_translation_free(kernel)
    return jnp.where(far, mean, 0)


def _kernel(config):
    return kernels.Kernel(config.kernel, config.degree)


def _columns(scores):
    return scores[:, None] if scores.ndim == 1 else scores


def _targets(y, config):
    """Targets `[n p]` and which rows take part: all, or those of the two classes."""
    if config.task == "regression":
        return y[:, None], jnp.ones((len(y), 1), bool)
    first, second = jnp.asarray(class_pairs(config.n_classes), y.dtype).T
    is_first, is_second = y[:, None] == first[None], y[:, None] == second[None]
    return jnp.where(is_second, 1, -1).astype(y.dtype), is_first | is_second


def _loss(scores, targets, epsilon, config):
    if config.task == "regression":
        return jnp.maximum(jnp.abs(targets - scores) - epsilon, 0)
    return jnp.maximum(1 - targets * scores, 0)


class _Pair(NamedTuple):
    """The rows of a problem, by index into all rows."""

    rows: Int[Array, " m"]
    target: Float[Array, " m"]
    box: Float[Array, " m"]  # C times the weight; 0 for a row of another class


def _fit_pairs(kernel, scales, x, gram, y, weight, hyper, config):
    """All pairs in one program: on a CPU one after the other, each as long as it takes."""

    def run(scales, x, gram, rows, problem, tol):
        own = _own_rows(kernel, x, rows, config)
        gram = whole_gram(kernel, scales, own) if gram is None else gram
        return solve(kernel, scales, own, gram, problem, tol=tol, max_iter=config.max_iter)

    def one(pair):
        problem, given = _problem(pair, hyper, config), (scales, x, gram, pair.rows)
        # An absent row has no target here: its slope is its decision then, however small.
        solved = problem._replace(target=jnp.where(pair.box > 0, problem.target, 0))
        found = lane_by_lane(run)(*jax.lax.stop_gradient((*given, solved, hyper.tol)))
        slope = found.slope + (problem.target - solved.target)
        wide = _own_rows(kernel, x, pair.rows, config).astype(widest())
        beta, intercept = kkt.differentiable(
            kernel, scales, wide, problem, found.beta, found.intercept, slope, found.gap
        )
        if _is_cut(config):
            beta = jnp.zeros(x.shape[0], beta.dtype).at[pair.rows].add(beta)
        scores = solved.target - found.slope + found.intercept
        info = _info(found, scores, pair, problem, hyper, config)
        return beta, intercept, *jax.lax.stop_gradient((info, scores))

    return jax.vmap(one)(_pairs(y, weight, hyper, config))


def _info(found, scores, pair, problem, hyper, config):
    loss = _loss(scores, problem.target, hyper.epsilon, config)
    norm = (found.beta * (problem.target - found.slope)).sum()
    value = ((pair.box * loss).sum() + norm / 2) / hyper.C
    present = pair.box > 0
    known = present.any() & jnp.isfinite(found.slope).all()
    if config.task == "classification":
        known &= (present & (pair.target > 0)).any() & (present & (pair.target < 0)).any()
    return Info(found.n_iter, known & (found.gap <= hyper.tol), value, found.gap, jnp.asarray(0))


def _problem(pair, hyper, config):
    if config.task == "regression":
        return dual.Problem(pair.target, -pair.box, pair.box, hyper.epsilon)
    low, high = jnp.where(pair.target < 0, -pair.box, 0), jnp.where(pair.target > 0, pair.box, 0)
    return dual.Problem(pair.target, low, high, None)


def _is_cut(config):
    return config.task == "classification" and config.class_rows is not None


def _pairs(y, weight, hyper, config):
    """All problems, stacked; each holds all rows, or only those of its two classes."""
    box, every = hyper.C * weight.astype(widest()), jnp.arange(len(y), dtype=jnp.int32)
    if not _is_cut(config):
        y = finite(weight, y.astype(widest())) if config.task == "regression" else y
        targets, inside = _targets(y.astype(widest()), config)
        boxes = jnp.where(inside, box[:, None], 0)
        return _Pair(jnp.broadcast_to(every, targets.T.shape), targets.T, boxes.T)
    rows, real = rows_of_class(y, weight > 0, config.n_classes, config.class_rows)
    first, second = class_pairs(config.n_classes).T
    chosen = jnp.concatenate([rows[first], rows[second]], 1)
    real = jnp.concatenate([real[first], real[second]], 1)
    side = jnp.where(jnp.arange(chosen.shape[1]) < rows.shape[1], -1, 1).astype(widest())
    return _Pair(chosen, jnp.broadcast_to(side, chosen.shape), jnp.where(real, box[chosen], 0))


def _own_rows(kernel, x, rows, config):
    if not _is_cut(config):
        return x
    return x[rows][:, rows] if kernel.name == "precomputed" else x[rows]


def _total(info):
    return info._replace(
        converged=info.converged.all(),
        value=info.value.sum(),
        residual=info.residual.max(),
        solver=info.solver[0],
    )
