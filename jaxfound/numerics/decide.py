"""What a split of a large and of a small node have in common: from candidates to a decision.

A step of growth on a CPU costs microseconds before it computes anything, so it finds out at once
all that is wanted of its nodes. `settled` keeps XLA from computing a small vector anew in every
inner loop that reads it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxfound.numerics import draws
from jaxfound.numerics.growth import Limits, Open, Plan, Problem
from jaxfound.numerics.histogram import MISSING
from jaxfound.numerics.splits import Sums, allowed, best_candidate, gain

__all__ = [
    "Candidates",
    "data_row",
    "decide",
    "default_side",
    "features_to_try",
    "goes_left",
    "on_grid",
    "settled",
    "take",
    "take_target",
    "target_grid",
]

_SUM_BITS = 22  # of quantised targets: float32 adds them exactly, in any order


class Candidates(NamedTuple):
    """Sums of what candidates send to the left. Along c: the weight, the channels, rows."""

    code: Any  # [m k p]
    left: Any  # [c m k p], of codes up to `code`
    missing: Any  # [c m k 1], of rows with no value; None where there are none
    total: Any  # [c m 1 1]
    weight: Any  # [m], that of the node
    grid: Any  # of the targets


class _Grid(NamedTuple):
    """Targets of a node as whole numbers: `(y - centre) scale`, `[o m]`."""

    centre: Any
    scale: Any


def settled(really: Any, *values: Any) -> Any:
    """The values, computed here and once: a branch that is always taken, which XLA cannot know."""
    kept = jax.lax.cond(really, lambda v: v, lambda v: jax.tree.map(jnp.zeros_like, v), values)
    return kept if len(values) > 1 else kept[0]


def features_to_try(opened: Open, plan: Plan, limits: Limits) -> Any:
    """The next features to try `[m k]`, without repetition until all have been.

    In an order of the node's own even where all are tried: the first of them wins a tie, and in a
    node of two rows all tie.
    """
    # Slots that are too many repeat the last feature, which never wins a tie against itself.
    slots = jnp.minimum(jnp.arange(plan.tried, dtype=jnp.int32), limits.tried - 1)[None]
    last = jnp.asarray(limits.features.size).astype(jnp.int32) - 1
    index = jnp.minimum(opened.offset[:, None] + slots, last)
    return draws.permuted(opened.seed[:, None], index, limits.features)


def decide(
    problem: Problem, plan: Plan, opened: Open, found: Candidates, differs: Any, really: Any
) -> Any:
    """The best candidate of every node, if it is good enough."""
    limits, tree = problem.limits, opened.start // plan.rows
    best, varies = _best(limits, plan, found, found.left, tree, really)
    missing_left = jnp.zeros(len(tree), bool)
    if plan.missing:
        other, also = _best(limits, plan, found, found.left + found.missing, tree, really)
        missing_left, varies = other[0] > best[0], varies | also
        best = [jnp.where(missing_left, o, b) for o, b in zip(other, best, strict=True)]
    score, place, code = best
    enough = score * (found.weight / limits.total[tree]) >= limits.min_gain
    split = differs & (score >= 0) & enough
    looked_at = (opened.offset + limits.tried).astype(jnp.uint32)
    again = differs & ~varies & (looked_at < limits.features.size)
    return settled(really, split, again, place, code, missing_left, score)


def _best(limits, plan, found, left, tree, really):
    weight, total = left[0], found.total[0]
    lighter = jnp.minimum(weight, total - weight)
    score = gain(plan.channels.criterion, weight, total, _sums(plan, found, left))
    # The weight of small nodes may have been rounded.
    least = limits.min_weight[tree] * (total[:, 0, 0] / found.weight)
    score = allowed(score, lighter, jnp.maximum(least, 1)[:, None, None])
    if plan.count_rows:
        rows = jnp.minimum(left[-1], found.total[-1] - left[-1])
        score = allowed(score, rows, limits.min_rows.astype(jnp.float32))
    return best_candidate(settled(really, score), found.code), (lighter >= 1).any((1, 2))


def _sums(plan, found, left):
    """The channels, stacked `[c ...]`."""
    channels = plan.channels
    own = slice(1, 1 + len(channels.chosen))
    shape = (len(channels.chosen), left.shape[1], 1, 1)
    factor = jnp.asarray(channels.factors, jnp.float32) / channels.outputs
    factor = jnp.broadcast_to(factor[:, None, None, None], shape)
    if found.grid is None:
        return Sums(left[own], found.total[own], jnp.zeros(shape), jnp.ones(shape), factor)
    centre, scale = (part.reshape(shape) for part in found.grid)
    if channels.criterion == "squared_error":
        factor = factor / scale / scale
    return Sums(left[own], found.total[own], centre, scale, factor)


def target_grid(plan: Plan, low: Any, high: Any, weight: Any) -> Any:
    """So fine that the sum of all targets of a node has `_SUM_BITS` bits; `[o m]`."""
    half = (high - low) * 0.5
    exponent = _exponent(half * weight[None].astype(jnp.float32)).clip(min=-30)
    scale = jax.lax.bitcast_convert_type((_SUM_BITS - exponent + 127) << 23, jnp.float32)
    return _Grid((low + high) * 0.5, scale)


def _exponent(x):
    return (jax.lax.bitcast_convert_type(x, jnp.int32) >> 23) - 127


def on_grid(y: Any, grid: Any) -> Any:
    """Targets `[o m p]` on the grid of their node."""
    away = y - grid.centre[..., None]
    return jnp.round(away * grid.scale[..., None]).astype(jnp.int32)


def goes_left(code: Any, largest: Any, missing_left: Any) -> Any:
    """Whether rows of these codes go to the left."""
    return jnp.where(code == MISSING, missing_left, code <= largest)


def default_side(plan: Plan, missing_left: Any, absent: Any, rows_left: Any, count: Any) -> Any:
    """Where no value is missing, one that is later goes with most of the rows."""
    absent = absent if plan.missing else True
    return jnp.where(absent, 2 * rows_left > count, missing_left)


def take(array: Any, index: Any) -> Any:
    """Entries of a vector, at places that are inside it."""
    return array.at[index.astype(jnp.uint32)].get(mode="promise_in_bounds")


def take_target(problem: Problem, plan: Plan, rows: Any) -> Any:
    """Of the rows of a pool, `[o *rows]`."""
    row, outputs = data_row(plan, rows), range(plan.channels.outputs)
    return jnp.stack([take(problem.target, row + jnp.uint32(o * plan.rows)) for o in outputs])


def data_row(plan: Plan, rows: Any) -> Any:
    """The row of the data, for a row of a pool."""
    rows = rows.astype(jnp.uint32)
    return rows if plan.trees == 1 else rows % jnp.uint32(plan.rows)
