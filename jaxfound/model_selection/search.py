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
    "width_of",
]

_MOST_SCORES = 2**22  # rows times candidates that are fitted at once


@dataclasses.dataclass(frozen=True)
class Task:
    """What is static of an experiment."""

    model: Any  # a module of `jaxfound.models`, or a `Pipeline`
    config: Any
    scorers: tuple[tuple[str, Scorer], ...]
    with_train: bool = False  # whether the rows trained on are scored too
    varies: tuple[bool, ...] = ()  # which leaves of the plan's hypers have the axis of candidates
    width: int = 1  # so many candidates are fitted to a mask at once


class Lanes(NamedTuple):
    """Of every lane, the row of the plan's tables that it takes.

    Each `width` neighbours differ in their candidates only.
    """

    mask: Any  # int [l]
    candidate: Any
    target: Any


class Plan(NamedTuple):
    """The data of an experiment and the tables that its lanes choose from."""

    x: Any  # [n d]
    targets: Any  # [p n]
    train: Any  # [m n], masks times weights
    test: Any  # [m n]
    hypers: Any  # leaves [h ...], or [...] for what is the same for all candidates
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
    task, hypers, h = _several(_task(model, config, scoring, with_train), hypers, len(x))
    plan = _plan(x, y[None], weight, folds.train, folds.test, hypers, key)
    return jax.tree.map(jnp.transpose, _scores(task, plan, h, (len(folds.train), h)))


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
        return _fit(task, x, y, weight * counts, _defaults(task, hyper), key)[0]

    return jax.lax.map(one, jax.random.split(key, n_samples))


@partial(jax.jit, static_argnames="task")
def evaluate(task: Task, plan: Plan, lanes: Lanes) -> Scores:
    """The scores of some lanes of a plan, as many as a multiple of the task's width.

    Candidates that are fitted at once share what does not depend on them: a scaler before the
    model, a Gram matrix, every pass over the rows. Otherwise lanes run one after the other on a
    CPU, where a fit is fastest while its data stays in a cache, and each takes only the steps that
    it needs; and all at once elsewhere.
    """
    one = partial(_lane, task, plan)

    def block(lanes):
        first = Lanes(*(leaf[0] for leaf in lanes))
        if task.width == 1:
            return jax.tree.map(lambda leaf: leaf[None], one(first))
        return jax.vmap(lambda c: one(first._replace(candidate=c)))(lanes.candidate)

    blocks = Lanes(*(leaf.reshape(-1, task.width) for leaf in lanes))
    scores = jax.lax.platform_dependent(
        blocks,
        cpu=lambda blocks: jax.lax.map(block, blocks),
        default=lambda blocks: jax.vmap(block)(blocks),
    )
    return jax.tree.map(jnp.ravel, scores)


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
    leaves, tree = jax.tree.flatten(plan.hypers)
    chosen = [
        leaf[lane.candidate] if varies else leaf
        for leaf, varies in zip(leaves, task.varies, strict=True)
    ]
    hyper = tree.unflatten(chosen)
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
    """The task and the hypers of a single candidate."""
    hypers = jax.tree.map(jnp.asarray, _defaults(task, hyper))
    return dataclasses.replace(task, varies=(False,) * len(jax.tree.leaves(hypers))), hypers


def _several(task, hypers, n):
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
    return dataclasses.replace(task, varies=varies, width=width_of(task.model, h, n)), hypers, h


def width_of(model: Any, n_candidates: int, n: int) -> int:
    """How many candidates are fitted at once to `n` rows.

    Those of a model that says `LOCK_STEP`, whose fits end after about as many steps each.
    """
    last = getattr(model, "stages", (model,))[-1]
    if not getattr(last, "LOCK_STEP", False):
        return 1
    most = max(1, _MOST_SCORES // max(1, n))
    return max(w for w in range(1, min(n_candidates, most) + 1) if n_candidates % w == 0)


def _plan(x, targets, weight, train, test, hypers, key):
    weight = ones_like_rows(x, weight)
    key = jax.random.key(0) if key is None else key
    train, test = (jnp.asarray(mask, x.dtype) * weight[None] for mask in (train, test))
    return Plan(x, targets, train, test, hypers, key)


def _scores(task, plan, n_candidates, shape):
    """All lanes of a plan: every target and mask with every candidate."""
    target, mask, candidate = jnp.indices((len(plan.targets), len(plan.train), n_candidates))
    lanes = Lanes(mask.ravel(), candidate.ravel(), target.ravel())
    return jax.tree.map(lambda leaf: leaf.reshape(shape), evaluate(task, plan, lanes))
