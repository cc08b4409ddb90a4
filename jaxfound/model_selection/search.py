"""Whole experiments as one program: candidates, folds and sizes are lanes of one map over `fit`.

A lane is a fit: a row of masks says which rows it sees, another which rows judge it, and an index
which candidate it tries. Nothing is cut or copied, so that one compiled program holds all lanes,
whatever their number.
"""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Float, Key, Shaped
from jaxfound.model_selection.folds import Folds, first_rows
from jaxfound.model_selection.pipeline import defaults
from jaxfound.model_selection.scoring import Scorer, Scoring, as_scorers
from jaxfound.numerics.reduce import ones_like_rows

__all__ = [
    "Lanes",
    "Permuted",
    "Plan",
    "Scores",
    "Task",
    "bootstrap",
    "cross_validate",
    "evaluate",
    "grid",
    "held_out",
    "learning_curve",
    "permutation_test_score",
]


@dataclasses.dataclass(frozen=True)
class Task:
    """What is static of an experiment."""

    model: Any  # a module of `jaxfound.models`, or a `Pipeline`
    config: Any
    scorers: tuple[tuple[str, Scorer], ...]
    with_train: bool = False  # whether the rows trained on are scored too


class Lanes(NamedTuple):
    """Of every lane, the row of the plan's tables that it takes."""

    mask: Any  # int [l]
    candidate: Any
    target: Any


class Plan(NamedTuple):
    """The data of an experiment and the tables that its lanes choose from."""

    x: Any  # [n d]
    targets: Any  # [p n]
    train: Any  # [m n], masks times weights
    test: Any  # [m n]
    hypers: Any  # leaves [h ...]
    key: Any


class Scores(NamedTuple):
    """One entry a lane; greater is better. NaN where a fit diverged."""

    test: dict[str, Any]  # by the name of the scorer, [l]
    train: dict[str, Any]  # empty unless asked for
    converged: Any  # bool [l]


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
      >>> scores.test["score"].mean()
    """
    task = _task(model, config, scoring, with_train)
    hypers = _one(task, hyper)
    plan = _plan(x, y[None], weight, folds.train, folds.test, hypers, key)
    return _shaped(task, plan, (len(folds.train), 1, 1), (len(folds.train),))


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
    task = _task(model, config, scoring, with_train)
    hypers, h = _stacked(task, hypers)
    plan = _plan(x, y[None], weight, folds.train, folds.test, hypers, key)
    return _shaped(task, plan, (len(folds.train), h, 1), (len(folds.train), h), turn=True)


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
    task = _task(model, config, scoring, with_train=True)
    train = first_rows(folds, sizes)
    shape = train.shape[:2]
    test = jnp.broadcast_to(folds.test, train.shape)
    train, test = (mask.reshape(-1, mask.shape[-1]) for mask in (train, test))
    plan = _plan(x, y[None], weight, train, test, _one(task, hyper), key)
    return _shaped(task, plan, (len(plan.train), 1, 1), shape)


class Permuted(NamedTuple):
    score: dict[str, Float[Array, ""]]  # the mean over folds
    permuted: dict[str, Float[Array, " p"]]  # the same with shuffled targets
    p_value: dict[str, Float[Array, ""]]  # the share that is no worse than the score


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
    task = _task(model, config, scoring, with_train=False)
    draws = jax.random.split(key, n_permutations + 1)
    shuffled = jax.vmap(lambda key: jax.random.permutation(key, y))(draws[1:])
    targets = jnp.concatenate([y[None], shuffled])
    f = len(folds.train)
    plan = _plan(x, targets, weight, folds.train, folds.test, _one(task, hyper), draws[0])
    scores = _shaped(task, plan, (f, 1, len(targets)), (f, len(targets)))
    means = {name: values.mean(0) for name, values in scores.test.items()}
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
        return _fit(task, x, y, weight * counts, _defaults(task, hyper), key)[0]

    return jax.lax.map(one, jax.random.split(key, n_samples))


@partial(jax.jit, static_argnames="task")
def evaluate(task: Task, plan: Plan, lanes: Lanes) -> Scores:
    """The scores of some lanes of a plan. One after the other on a CPU, at once elsewhere.

    On a CPU a fit that is too small to use all of it is still fastest when its data stays in a
    cache, and each takes only as many iterations as it needs.
    """
    one = partial(_lane, task, plan)
    return jax.lax.platform_dependent(
        lanes,
        cpu=lambda lanes: jax.lax.map(one, lanes),
        default=lambda lanes: jax.vmap(one)(lanes),
    )


@partial(jax.jit, static_argnames="task")
def held_out(task: Task, plan: Plan) -> Shaped[Array, "n *k"]:
    """For every row the output that the task's scorer reads, of the fit that holds the row out.

    Of the first candidate and the first target of the plan.
    """
    ((_, scorer),) = task.scorers

    def one(mask):
        zero = jnp.zeros_like(mask)
        return _fitted(task, plan, Lanes(mask, zero, zero))[0][scorer.output]

    def add(known, mask):
        found = one(mask)
        inside = (plan.test[mask] > 0).reshape(-1, *(1,) * (found.ndim - 1))
        return jnp.where(inside, found, known), None

    masks = jnp.arange(len(plan.test))
    like = jax.eval_shape(one, masks[0])
    return jax.lax.scan(add, jnp.zeros(like.shape, like.dtype), masks)[0]


def _lane(task, plan, lane):
    train, test, y = plan.train[lane.mask], plan.test[lane.mask], plan.targets[lane.target]
    outputs, converged = _fitted(task, plan, lane)

    def scores(weight):
        return {
            name: scorer.sign * scorer.metric(y, outputs[scorer.output], weight)
            for name, scorer in task.scorers
        }

    return Scores(scores(test), scores(train) if task.with_train else {}, converged)


def _fitted(task, plan, lane):
    """The outputs of the lane's fit for all rows, and whether it converged."""
    train, y = plan.train[lane.mask], plan.targets[lane.target]
    hyper = jax.tree.map(lambda leaf: leaf[lane.candidate], plan.hypers)
    key = jax.random.fold_in(plan.key, lane.mask)
    if _knows_scores(task):
        fit = partial(task.model.fit_with_scores, config=task.config)
        params, info, scores = fit(plan.x, y, train, hyper)
        known = {"decision": scores, "predict": task.model.choose(scores, task.config)}
    else:
        (params, info), known = _fit(task, plan.x, y, train, hyper, key), {}
    return _Outputs(task.model, params, plan.x, known), info.converged


class _Outputs(dict):
    """What scorers read of a model, each computed once."""

    def __init__(self, model, params, x, known):
        super().__init__(known)
        self._of = lambda name: getattr(model, name)(params, x)

    def __missing__(self, name):
        self[name] = self._of(name)
        return self[name]


def _knows_scores(task):
    # A kernel machine knows the decisions for all rows when it ends, those held out included.
    known = hasattr(task.model, "fit_with_scores")
    return known and getattr(task.config, "class_rows", None) is None


def _fit(task, x, y, weight, hyper, key):
    return task.model.fit(x, y, weight, hyper, key, config=task.config)


def _task(model, config, scoring, with_train):
    config = defaults(model, "Config") if config is None else config
    return Task(model, config, as_scorers(scoring), with_train)


def _defaults(task, hyper):
    return defaults(task.model, "Hyper") if hyper is None else hyper


def _one(task, hyper):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], _defaults(task, hyper))


def _stacked(task, hypers):
    """The leaves with the axis of candidates, which numbers share, and how many there are."""
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(hypers)]
    lengths = {leaf.shape[0] for leaf in leaves if leaf.ndim}
    if len(lengths) != 1:
        raise ValueError(
            f"the leaves of hypers have the lengths {sorted(lengths)}, expected one length: give "
            f"{type(hypers).__name__} arrays with one entry a candidate."
        )
    (h,) = lengths
    full = [leaf if leaf.ndim else jnp.broadcast_to(leaf, (h,)) for leaf in leaves]
    return jax.tree.unflatten(jax.tree.structure(hypers), full), h


def _plan(x, targets, weight, train, test, hypers, key):
    weight = ones_like_rows(x, weight)
    key = jax.random.key(0) if key is None else key
    train, test = (jnp.asarray(mask, x.dtype) * weight[None] for mask in (train, test))
    return Plan(x, targets, train, test, hypers, key)


def _shaped(task, plan, sizes, shape, *, turn=False):
    """All lanes of a plan: every mask with every candidate and every target."""
    index = jnp.indices(sizes).reshape(3, -1)
    scores = evaluate(task, plan, Lanes._make(index))
    out = jax.tree.map(lambda leaf: leaf.reshape(shape), scores)
    return jax.tree.map(jnp.transpose, out) if turn else out
