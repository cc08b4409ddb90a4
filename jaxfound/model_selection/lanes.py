"""The lanes of an experiment: what one is, and the compiled program that runs some of them.

A lane is a fit: a row of masks says which rows it sees, another which rows judge it, and an index
which candidate it tries. So one compiled program holds all lanes, whatever their number. On a CPU,
where they run one after the other, each takes the few rows that its masks leave out of the way.
"""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from jaxfound._show import as_table
from jaxfound._types import Array, Shaped
from jaxfound.model_selection import path
from jaxfound.model_selection.scoring import Scorer
from jaxfound.numerics.mesh import LANES

__all__ = [
    "Lanes",
    "Plan",
    "Scores",
    "Task",
    "devices",
    "evaluate",
    "fit",
    "held_out",
    "knows_scores",
]


@dataclasses.dataclass(frozen=True)
class Task:
    """What is static of an experiment."""

    model: Any  # a module of `jaxfound.models`, or a `Pipeline`
    config: Any
    scorers: tuple[tuple[str, Scorer], ...]
    with_train: bool = False  # whether the rows trained on are scored too
    varies: tuple[bool, ...] = ()  # which leaves of the plan's hypers have the axis of candidates
    width: int = 1  # so many candidates share what does not depend on them
    alike: bool = False  # whether those agree on what the model lets several fits share
    in_lock_step: bool = False  # whether those share every pass over the rows, too
    on_a_path: bool = False  # whether each of those starts where the ones before it point to
    n_train: int | None = None  # the most rows that a lane fits; None: all are read, and weighed
    n_test: int | None = None  # the most rows that judge a lane; None: all are scored, and weighed


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

    _repr_html_ = as_table


@partial(jax.jit, static_argnames="task")
def evaluate(task: Task, plan: Plan, lanes: Lanes) -> Scores:
    """The scores of some lanes of a plan, as many as a multiple of the task's width.

    The candidates of a block share what does not depend on them: the stages before a model, the
    matrix of a kernel that they agree on, and every pass over the rows where they are fitted at
    once. Otherwise lanes run one after the other on a CPU, where a fit is fastest while its data
    stays in a cache, takes only the steps that it needs, and may start where those before it in
    the block point to; and all at once elsewhere. Under `jax.set_mesh` of a mesh with an axis
    `LANES`, every device runs a share of the blocks.
    """
    blocks = Lanes(*(leaf.reshape(-1, task.width) for leaf in lanes))
    scores = _spread(partial(_run, task), plan, blocks)
    return jax.tree.map(jnp.ravel, scores)


def devices() -> int:
    """How many devices of the mesh share the lanes."""
    return dict(jax.sharding.get_abstract_mesh().shape).get(LANES, 1)


def _spread(run, plan, blocks):
    """`run(plan, blocks)`, with the blocks over the devices of the mesh."""
    if devices() == 1:
        return run(plan, blocks)
    n = len(blocks.mask)
    even = jnp.minimum(jnp.arange(-(-n // devices()) * devices()), n - 1)  # the last runs again
    over, whole = PartitionSpec(LANES), PartitionSpec()
    mapped = jax.shard_map(run, in_specs=(whole, over), out_specs=over, check_vma=False)
    scores = mapped(plan, jax.tree.map(lambda leaf: leaf[even], blocks))
    return jax.tree.map(lambda leaf: leaf[:n], scores)


def _run(task, plan, blocks):
    def run(task, each, blocks):
        def block(lanes):
            first = Lanes(*(leaf[0] for leaf in lanes))
            seen = _with_shared(_behind_stages(task, plan, first), first)

            def one(candidate):
                return _lane(seen, first._replace(candidate=candidate))[1]

            if task.width == 1:
                return jax.tree.map(lambda leaf: leaf[None], one(first.candidate))
            if task.on_a_path:
                return _along_path(seen, first, lanes.candidate)
            return (_together if task.in_lock_step else each)(one, lanes.candidate)

        return each(block, blocks)

    # Lanes that run together read the same rows, each with its weights, and wait for no start.
    uncut = dataclasses.replace(task, n_train=None, on_a_path=False)
    return jax.lax.platform_dependent(
        blocks, cpu=partial(run, task, jax.lax.map), default=partial(run, uncut, _together)
    )


def _together(function, lanes):
    return jax.vmap(function)(lanes)


def _along_path(seen, first, candidates):
    def one(i, start):
        return _lane(seen, first._replace(candidate=candidates[i]), start)

    def value(candidate):
        hyper = _chosen(seen.task, seen.plan, first._replace(candidate=candidate))
        return getattr(hyper, seen.task.model.PATH)

    start = seen.task.model.origin(seen.fitted.x, seen.task.config)
    return path.follow(one, jax.vmap(value)(candidates), start)


class _Rows(NamedTuple):
    """The rows of a mask."""

    at: Any  # their places
    weight: Any
    x: Any


class _Seen(NamedTuple):
    """An experiment as the last stage sees it."""

    task: Task
    plan: Plan
    fitted: _Rows
    judges: _Rows
    key: Any  # of the last stage
    sound: Any  # whether the stages before have converged
    shared: Any = None  # by the fits of a block


def _behind_stages(task, plan, lane):
    """The stages before the model are fitted once for all candidates of a block."""
    key = jax.random.fold_in(plan.key, lane.mask)
    fitted = _rows(task.n_train, plan.x, plan.train[lane.mask])
    judges = _rows(task.n_test, plan.x, plan.test[lane.mask])
    if not hasattr(task.model, "stages"):
        return _Seen(task, plan, fitted, judges, key, True)
    hypers = _chosen(task, plan, lane)
    before = fitted.x, fitted.weight, hypers, key
    params, x, sound, key = task.model.before(*before, config=task.config)
    fitted = fitted._replace(x=x)
    judges = judges._replace(x=task.model.transform((*params, None), judges.x))
    plan = plan._replace(hypers=plan.hypers[-1])
    varies = task.varies[-len(jax.tree.leaves(plan.hypers)) :]
    last = {"model": task.model.stages[-1], "config": task.config[-1], "varies": varies}
    return _Seen(dataclasses.replace(task, **last), plan, fitted, judges, key, sound)


def _rows(size, x, weight):
    """The rows of a mask; a place that is left over weighs nothing."""
    if size is None:
        return _Rows(slice(None), weight, x)
    at = jnp.nonzero(weight, size=size, fill_value=0)[0]
    real = jnp.arange(size) < (weight > 0).sum()
    return _Rows(at, jnp.where(real, weight[at], 0), x[at])


def _with_shared(seen, lane):
    """With what the model lets the candidates of a block share."""
    task, fitted = seen.task, seen.fitted
    if not task.alike:
        return seen
    given = fitted.x, fitted.weight, _chosen(task, seen.plan, lane)
    return seen._replace(shared=task.model.shared(*given, config=task.config))


@partial(jax.jit, static_argnames="task")
def held_out(task: Task, plan: Plan) -> Shaped[Array, "n *k"]:
    """For every row the output that the task's scorer reads, of the fit that holds the row out.

    Of the first candidate and the first target of the plan.
    """
    ((_, scorer),) = task.scorers

    def one(mask):
        zero = jnp.zeros_like(mask)
        lane = Lanes(mask, zero, zero)
        seen = _behind_stages(task, plan, lane)
        params, _, known = _fitted(seen, lane)
        return _Outputs(seen.task.model, params, seen.judges.x, known)[scorer.output]

    def add(known, mask):
        found = one(mask)
        inside = (plan.test[mask] > 0).reshape(-1, *(1,) * (found.ndim - 1))
        return jnp.where(inside, found, known), None

    masks = jnp.arange(len(plan.test))
    like = jax.eval_shape(one, masks[0])
    return jax.lax.scan(add, jnp.zeros(like.shape, like.dtype), masks)[0]


def _lane(seen, lane, start=None):
    """The params of a lane, and its scores."""
    task, targets = seen.task, seen.plan.targets[lane.target]
    params, converged, known = _fitted(seen, lane, start)

    def scores(rows):
        ready = {name: values[rows.at] for name, values in known.items()}
        outputs = _Outputs(task.model, params, rows.x, ready)
        return {
            name: scorer.sign * scorer.metric(targets[rows.at], outputs[scorer.output], rows.weight)
            for name, scorer in task.scorers
        }

    train = scores(seen.fitted) if task.with_train else {}
    return params, Scores(scores(seen.judges), train, converged & seen.sound)


def _fitted(seen, lane, start=None):
    """Params, whether the fit converged, and the outputs for all rows that it knows already."""
    task, plan, rows = seen.task, seen.plan, seen.fitted
    given = rows.x, plan.targets[lane.target][rows.at], rows.weight, _chosen(task, plan, lane)
    if not knows_scores(task.model, task.config):
        params, info = fit(task, *given, seen.key, start)
        return params, info.converged, {}
    params, info, scores = task.model.fit_with_scores(*given, seen.shared, config=task.config)
    known = {"decision": scores, "predict": task.model.choose(scores, task.config)}
    return params, info.converged, known


def _chosen(task, plan, lane):
    """The hyper of the lane's candidate."""
    leaves, tree = jax.tree.flatten(plan.hypers)
    pairs = zip(leaves, task.varies, strict=True)
    return tree.unflatten([leaf[lane.candidate] if varies else leaf for leaf, varies in pairs])


class _Outputs(dict):
    """What scorers read of a model, each computed once."""

    def __init__(self, model, params, x, known):
        super().__init__(known)
        self._of = lambda name: getattr(model, name)(params, x)

    def __missing__(self, name):
        self[name] = self._of(name)
        return self[name]


def knows_scores(model: Any, config: Any) -> bool:
    """Whether a fit ends with the decisions for all rows, as that of a kernel machine does."""
    known = hasattr(model, "fit_with_scores")
    return known and getattr(config, "class_rows", None) is None


def fit(
    task: Task, x: Any, y: Any, weight: Any, hyper: Any, key: Any, start: Any = None
) -> tuple[Any, Any]:
    """The fit of the task's model."""
    given = {} if start is None else {"start": start}
    return task.model.fit(x, y, weight, hyper, key, config=task.config, **given)
