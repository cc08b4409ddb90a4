"""Hyperparameters by gradient: a cross-validated score has a slope in every number of `Hyper`.

A grid of `m` values each needs `m` to the power of their number; a gradient costs one more pass
over the folds whatever their number, so that a penalty for every feature can be learned.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from jaxfound import metrics
from jaxfound._show import as_table
from jaxfound._types import Array, Float, Key, Shaped
from jaxfound.model_selection import search
from jaxfound.model_selection.folds import Folds
from jaxfound.model_selection.pipeline import defaults
from jaxfound.model_selection.scoring import Scorer, as_scorers
from jaxfound.numerics.branch import where

__all__ = ["Certificate", "Learned", "certify", "learn", "leaves_by_name"]

_FLAT = (metrics.accuracy, metrics.roc_auc)  # steps of 1/n, whose slope is zero
_STATIC = ("model", "names", "scoring", "config")


class Learned(NamedTuple):
    hyper: Any  # the best of all steps
    score: Float[Array, ""]  # its mean over folds
    trajectory: Float[Array, " i"]  # the score of the start and after each step

    _repr_html_ = as_table


class Certificate(NamedTuple):
    """The gradient along random unit directions, beside central differences of the score."""

    slopes: Float[Array, " r"]
    differences: Float[Array, " r"]
    error: Float[Array, ""]  # the largest gap, over the norm of the gradient

    _repr_html_ = as_table


@partial(jax.jit, static_argnames=(*_STATIC, "n_steps", "optimizer"))
def learn(
    model: Any,
    x: Float[Array, "n d"],
    y: Shaped[Array, " n"],
    folds: Folds,
    hyper: Any = None,
    key: Key | None = None,
    *,
    names: tuple[str, ...],
    scoring: str | Callable[..., Any] | Scorer,
    weight: Shaped[Array, " n"] | None = None,
    learning_rate: Float[Array, ""] | float = 0.1,
    n_steps: int = 100,
    optimizer: Callable[..., optax.GradientTransformation] = optax.adam,
    config: Any = None,
) -> Learned:
    r"""Climbs the mean score $S(e^\theta)$ over folds, with $\theta$ the logarithms of the hypers.

    Args:
      model: a module with the contract of `jaxfound.models`, or a `Pipeline`.
      x, y, folds, key, weight, config: as for `search.cross_validate`.
      hyper: where to start. An array in a leaf learns all its entries: a ridge penalty `[d]` is
        one a feature.
      names: the leaves to learn, such as `("l2",)`; of a `Pipeline` with the number of the stage
        in front, `("2.C",)`. They must be positive: zero or less gives NaN.
      scoring: of one smooth metric.
      learning_rate: about the change of $\theta$ in a step, for the default optimiser.
      n_steps, optimizer: static; `optimizer(learning_rate)` is any of optax's.

    Returns:
      The best hyper of the start and all steps. A step where a fit diverges has the score NaN and
      is never the best.

    Raises:
      ValueError: for a name that is no leaf, or a score without a slope.

    Example:
      >>> start = ridge.Hyper(jnp.ones(x.shape[1]))
      >>> split = folds.k_fold(len(x))
      >>> penalties = learn(ridge, x, y, split, start, names=("l2",), scoring="r2").hyper.l2

    Reference: Y. Bengio, Gradient-based optimization of hyperparameters, Neural Computation 12
    (2000), section 3; C. Do, C. Foo, A. Ng, Efficient multiple hyperparameter learning for
    log-linear models, NIPS 2007, section 4.
    """
    score, start, restored = _problem(
        model, x, y, folds, hyper, key, names, scoring, weight, config
    )
    descent = optimizer(learning_rate)

    def step(carry, _):
        theta, state, best = carry
        value, slope = jax.value_and_grad(score)(theta)
        best = _better(best, (theta, value))
        with jax.numpy_dtype_promotion("standard"):  # optax mixes its counters with floats
            updates, state = descent.update(-slope, state, theta)
        return (theta + updates, state, best), value

    nothing = start, jnp.full((), -jnp.inf, x.dtype)
    first = start, descent.init(start), nothing
    (theta, _, best), values = jax.lax.scan(step, first, length=n_steps)
    last = score(theta)
    theta, value = _better(best, (theta, last))
    return Learned(restored(theta), value, jnp.append(values, last))


@partial(jax.jit, static_argnames=(*_STATIC, "n_directions"))
def certify(
    model: Any,
    x: Float[Array, "n d"],
    y: Shaped[Array, " n"],
    folds: Folds,
    hyper: Any,
    key: Key,
    *,
    names: tuple[str, ...],
    scoring: str | Callable[..., Any] | Scorer,
    weight: Shaped[Array, " n"] | None = None,
    n_directions: int = 8,
    config: Any = None,
) -> Certificate:
    r"""Whether the gradient that `learn` follows is right, at `hyper` and along random directions.

    The central difference has an error of about $\epsilon^{2/3}$, and that of the solver's `tol`
    over $\epsilon^{1/3}$: compare in float64, with a small `tol`.

    Args:
      key: draws the directions; and folded with a lane's number, is that of the model.
      n_directions: static.
      model, x, y, folds, hyper, names, scoring, weight, config: as for `learn`.

    Raises:
      ValueError: as `learn` does.
    """
    score, theta, _ = _problem(model, x, y, folds, hyper, key, names, scoring, weight, config)
    slope = jax.grad(score)(theta)
    drawn = jax.random.normal(key, (n_directions, theta.size), x.dtype)
    directions = drawn / jnp.linalg.norm(drawn, axis=1, keepdims=True)
    h = jnp.cbrt(jnp.finfo(x.dtype).eps)

    def difference(direction):
        return (score(theta + h * direction) - score(theta - h * direction)) / (2 * h)

    slopes = jnp.matmul(directions, slope, precision="highest")
    differences = jax.lax.map(difference, directions)
    error = jnp.abs(slopes - differences).max() / jnp.linalg.norm(slope)
    return Certificate(slopes, differences, error)


def leaves_by_name(hyper: Any) -> dict[str, Any]:
    """The leaves by the names that `learn` takes, in their order."""
    flat, _ = jax.tree.flatten_with_path(hyper)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in flat}


def _problem(model, x, y, folds, hyper, key, names, scoring, weight, config):
    """The score as a function of a flat theta, where it starts, and the hyper of a theta."""
    scoring = _smooth(scoring)
    hyper = defaults(model, "Hyper") if hyper is None else hyper
    known, tree = leaves_by_name(hyper), jax.tree.structure(hyper)
    if not names or not set(names) <= set(known):
        raise ValueError(
            f"names is {names!r}, expected one or more of {', '.join(map(repr, known))}: the "
            "leaves of hyper that are learned."
        )
    start = {name: jnp.log(jnp.asarray(known[name], x.dtype)) for name in names}
    theta, unravel = ravel_pytree(start)

    def restored(theta):
        return tree.unflatten((known | jax.tree.map(jnp.exp, unravel(theta))).values())

    def score(theta):
        options: Any = {"scoring": scoring, "weight": weight, "config": config}
        found = search.cross_validate(model, x, y, folds, restored(theta), key, **options)
        return found.test["score"].mean()

    return score, theta, restored


def _smooth(scoring):
    ((_, scorer),) = as_scorers(scoring)
    if scorer.metric in _FLAT:
        raise ValueError(
            f"scoring is {scoring!r}, expected a score with a slope: small changes of a number "
            "change no rank and no class; take 'neg_log_loss' for a classifier."
        )
    return scorer


def _better(best, other):
    return where(other[1] > best[1], other, best)
