"""Whole experiments as one program: candidates, folds and sizes are lanes of one map over `fit`.

Each function says what the lanes are; `lanes` runs them.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxfound._show import as_table
from jaxfound._types import Array, Float, Int, Key, Shaped
from jaxfound.model_selection import lanes, sharing
from jaxfound.model_selection.folds import Folds, first_rows
from jaxfound.model_selection.lanes import Plan, Scores, Task
from jaxfound.model_selection.pipeline import defaults
from jaxfound.model_selection.scoring import Scoring, as_scorers
from jaxfound.numerics.reduce import ones_like_rows

__all__ = [
    "Halved",
    "Permuted",
    "bootstrap",
    "cross_validate",
    "grid",
    "learning_curve",
    "permutation_test_score",
    "random_search",
    "successive_halving",
]


def cross_validate(
    model: Any,
    x: Float[Array, "n d"],
    y: Shaped[Array, " n"],
    folds: Folds,
    hyper: Any = None,
    key: Key | None = None,
    *,
    scoring: Scoring,
    weight: Shaped[Array, " n"] | None = None,
    config: Any = None,
    with_train: bool = False,
) -> Scores:
    """Scores `[f]` of one fit a fold.

    Args:
      model: a module with the contract of `jaxfound.models`, or a `Pipeline`.
      x, y: as for `model.fit`.
      folds: from `model_selection.folds`.
      hyper, config: of the model; its defaults if None.
      key: of models that draw; a lane's is folded with its number.
      scoring: a name, a metric of `(y, prediction, weight)`, a `Scorer`, or a dictionary of them.
      weight: multiplies the masks, in fits and in scores.
      with_train: also score the rows trained on.

    Example:
      >>> scores = cross_validate(ridge, x, y, folds.k_fold(len(x)), scoring="r2")
      >>> mean = scores.test["score"].mean()
    """
    task, hypers = _one(_task(model, config, scoring, with_train), hyper)
    plan = _plan(x, y[None], weight, folds.train, folds.test, hypers, key)
    return _scores(task, plan, 1, (len(folds.train),))


def grid(
    model: Any,
    x: Float[Array, "n d"],
    y: Shaped[Array, " n"],
    folds: Folds,
    hypers: Any,
    key: Key | None = None,
    *,
    scoring: Scoring,
    weight: Shaped[Array, " n"] | None = None,
    config: Any = None,
    with_train: bool = False,
) -> Scores:
    """Scores `[h f]` of every candidate on every fold.

    Args:
      hypers: the model's `Hyper` with the axis `h` of candidates on at least one leaf.
      x, y, folds, key, scoring, weight, config, with_train: as for `cross_validate`.

    Raises:
      ValueError: if leaves have different numbers of candidates, or none has any.
    """
    task, hypers, h = _several(_task(model, config, scoring, with_train), hypers, x)
    plan = _plan(x, y[None], weight, folds.train, folds.test, hypers, key)
    return jax.tree.map(jnp.transpose, _scores(task, plan, h, (len(folds.train), h)))


def random_search(
    model: Any,
    x: Float[Array, "n d"],
    y: Shaped[Array, " n"],
    folds: Folds,
    sample: Callable[[Key], Any],
    key: Key,
    *,
    n_candidates: int = 10,
    **options: Any,
) -> tuple[Any, Scores]:
    """Candidates that are drawn, and their scores `[h f]`.

    Args:
      sample: the model's `Hyper` of a key, jittable.
      key: of the draws, and of models that draw.
      n_candidates: static.
      x, y, folds: as for `cross_validate`.
      **options: of `grid`.

    Example:
      >>> def sample(key):
      ...     return ridge.Hyper(10 ** jax.random.uniform(key, minval=-3, maxval=3))

    Reference: J. Bergstra, Y. Bengio, Random search for hyper-parameter optimization, JMLR 13
    (2012).
    """
    draw, fit = jax.random.split(key)
    hypers = jax.vmap(sample)(jax.random.split(draw, n_candidates))
    return hypers, grid(model, x, y, folds, hypers, fit, **options)


def learning_curve(
    model: Any,
    x: Float[Array, "n d"],
    y: Shaped[Array, " n"],
    folds: Folds,
    sizes: Shaped[Array, " s"],
    hyper: Any = None,
    key: Key | None = None,
    *,
    scoring: Scoring,
    weight: Shaped[Array, " n"] | None = None,
    config: Any = None,
) -> Scores:
    """Scores `[s f]` of fits to the first rows of every fold.

    Args:
      sizes: numbers of rows to train on; traced, so that other sizes compile nothing.
      x, y, folds, hyper, key, scoring, weight, config: as for `cross_validate`.
    """
    task, hypers = _one(_task(model, config, scoring, with_train=True), hyper)
    train = first_rows(folds, sizes)
    shape = train.shape[:2]
    test = jnp.broadcast_to(folds.test, train.shape)
    train, test = (mask.reshape(-1, mask.shape[-1]) for mask in (train, test))
    plan = _plan(x, y[None], weight, train, test, hypers, key)
    return _scores(task, plan, 1, shape)


class Halved(NamedTuple):
    """What `successive_halving` tried; `r` rounds, `h` candidates."""

    best: Int[Array, ""]  # the candidate with the greatest score of those that are left
    score: Float[Array, ""]  # its mean over the folds, in the last round
    scores: Float[Array, "r h"]  # mean scores; minus infinity where a candidate was out already
    sizes: tuple[int, ...]  # rows trained on, a round each

    _repr_html_ = as_table


def successive_halving(
    model: Any,
    x: Float[Array, "n d"],
    y: Shaped[Array, " n"],
    folds: Folds,
    hypers: Any,
    key: Key | None = None,
    *,
    scoring: Scoring,
    min_rows: int,
    factor: int = 3,
    weight: Shaped[Array, " n"] | None = None,
    config: Any = None,
) -> Halved:
    """All candidates on few rows, the best share of them on more, and so on to all rows.

    Args:
      hypers: the model's `Hyper` with the axis `h` of candidates on at least one leaf.
      min_rows: of every fold that the first round trains on, static; the first in its order.
      factor: static; a round keeps one candidate in so many, and takes so many times the rows.
      scoring: of one metric.
      x, y, folds, key, weight, config: as for `cross_validate`.

    Returns:
      What was tried. A fit that diverges scores NaN, and is the first to go.

    Raises:
      ValueError: for a `factor` below 2, and as `grid` does.

    Reference: K. Jamieson, A. Talwalkar, Non-stochastic best arm identification and hyperparameter
    optimization, AISTATS 2016, figure 3.
    """
    if factor < 2:
        raise ValueError(f"factor is {factor}, expected 2 or more: a round keeps one in so many.")
    options: Any = {"scoring": scoring, "weight": weight, "config": config}
    _, hypers, h = _several(_task(model, config, scoring, False), hypers, x)
    rounds, left = [], jnp.arange(h)
    sizes = _growing(min_rows, len(x), factor, h)
    for size in sizes:
        few = folds._replace(train=first_rows(folds, jnp.asarray([size]))[0])
        tried = jax.tree.map(lambda leaf, left=left: leaf[left] if leaf.ndim else leaf, hypers)
        (scores,) = grid(model, x, y, few, tried, key, **options).test.values()
        means = scores.mean(1)
        means = jnp.where(jnp.isnan(means), -jnp.inf, means)
        rounds.append(jnp.full(h, -jnp.inf, means.dtype).at[left].set(means))
        best = left[jnp.argmax(means)]
        kept = max(1, len(left) // factor)
        left = left[jax.lax.top_k(means, kept)[1]]
    return Halved(best, rounds[-1].max(), jnp.stack(rounds), sizes)


def _growing(least, most, factor, h):
    """The rows of every round: as many rounds as rows, or candidates, allow."""
    sizes = [min(least, most)]
    while sizes[-1] < most and h >= factor:
        sizes.append(min(most, sizes[-1] * factor))
        h //= factor
    return (*sizes[:-1], most)


class Permuted(NamedTuple):
    score: dict[str, Float[Array, ""]]  # the mean over folds
    permuted: dict[str, Float[Array, " p"]]  # the same with shuffled targets
    p_value: dict[str, Float[Array, ""]]  # the share that is no worse than the score

    _repr_html_ = as_table


def permutation_test_score(
    model: Any,
    x: Float[Array, "n d"],
    y: Shaped[Array, " n"],
    folds: Folds,
    key: Key,
    hyper: Any = None,
    *,
    scoring: Scoring,
    n_permutations: int = 100,
    weight: Shaped[Array, " n"] | None = None,
    config: Any = None,
) -> Permuted:
    """Whether a score could be had by chance: it is compared with those of shuffled targets.

    Reference: M. Ojala, G. Garriga, Permutation tests for studying classifier performance,
    JMLR 11 (2010), definition 1.
    """
    task, hypers = _one(_task(model, config, scoring, with_train=False), hyper)
    draws = jax.random.split(key, n_permutations + 1)
    shuffled = jax.vmap(lambda key: jax.random.permutation(key, y))(draws[1:])
    targets = jnp.concatenate([y[None], shuffled])
    plan = _plan(x, targets, weight, folds.train, folds.test, hypers, draws[0])
    scores = _scores(task, plan, 1, (len(targets), len(folds.train)))
    means = {name: values.mean(1) for name, values in scores.test.items()}
    beaten = {name: (m[1:] >= m[0]).sum().astype(m.dtype) for name, m in means.items()}
    return Permuted(
        {name: m[0] for name, m in means.items()},
        {name: m[1:] for name, m in means.items()},
        {name: (b + 1) / (n_permutations + 1) for name, b in beaten.items()},
    )


def bootstrap(
    model: Any,
    x: Float[Array, "n d"],
    y: Shaped[Array, " n"],
    key: Key,
    hyper: Any = None,
    *,
    n_samples: int = 100,
    weight: Shaped[Array, " n"] | None = None,
    config: Any = None,
) -> Any:
    """Params with a leading axis `[b]`: a fit to each of `n_samples` draws of n rows.

    Drawing with replacement is an integer weight a row.

    Reference: B. Efron, R. Tibshirani, An Introduction to the Bootstrap, 1993, algorithm 6.1.
    """
    task = _task(model, config, {}, with_train=False)
    weight, n = ones_like_rows(x, weight), len(x)

    def one(key):
        drawn = jax.random.randint(key, (n,), 0, n)
        counts = jnp.zeros(n, x.dtype).at[drawn].add(1)
        return lanes.fit(task, x, y, weight * counts, _defaults(task, hyper), key)[0]

    return jax.lax.map(one, jax.random.split(key, n_samples))


def _task(model, config, scoring, with_train):
    config = defaults(model, "Config") if config is None else config
    return Task(model, config, as_scorers(scoring), with_train)


def _defaults(task, hyper):
    return defaults(task.model, "Hyper") if hyper is None else hyper


def _one(task, hyper):
    """The task and the hypers of a single candidate."""
    hypers = jax.tree.map(jnp.asarray, _defaults(task, hyper))
    return dataclasses.replace(task, varies=(False,) * len(jax.tree.leaves(hypers))), hypers


def _several(task, hypers, x):
    """The task, the hypers as arrays, and the number of candidates."""
    hypers = jax.tree.map(jnp.asarray, hypers)
    leaves = jax.tree.leaves(hypers)
    lengths = {leaf.shape[0] for leaf in leaves if leaf.ndim}
    if len(lengths) != 1:
        raise ValueError(
            f"the leaves of hypers have the lengths {sorted(lengths)}, expected one length: give "
            f"{type(hypers).__name__} arrays with one entry a candidate."
        )
    (h,) = lengths
    varies = tuple(leaf.ndim > 0 for leaf in leaves)
    return sharing.with_candidates(task, hypers, varies, h, x), hypers, h


def _plan(x, targets, weight, train, test, hypers, key):
    weight = ones_like_rows(x, weight)
    key = jax.random.key(0) if key is None else key
    train, test = (jnp.asarray(mask, x.dtype) * weight[None] for mask in (train, test))
    return Plan(x, targets, train, test, hypers, key)


def _scores(task, plan, n_candidates, shape):
    """All lanes of a plan: every target and mask with every candidate."""
    order = sharing.neighbours(task.model, plan.hypers, n_candidates)
    target, mask, place = np.indices((len(plan.targets), len(plan.train), n_candidates))
    every = lanes.Lanes(*(jnp.asarray(i.ravel()) for i in (mask, order[place], target)))
    task = sharing.with_few_rows(task, plan.train, plan.test)
    scores = lanes.evaluate(task, plan, every)
    back = np.argsort(order)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, n_candidates)[:, back].reshape(shape), scores)
