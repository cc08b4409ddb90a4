"""A large node is split by the histograms of its rows, a block of them at a time."""

import jax
import jax.numpy as jnp

from jaxfound.numerics import draws
from jaxfound.numerics.decide import (
    Candidates,
    data_row,
    decide,
    default_side,
    features_to_try,
    goes_left,
    on_grid,
    settled,
    take,
    take_target,
    target_grid,
)
from jaxfound.numerics.growth import Choice, Plan, Problem, State, branch, opened_of, pop
from jaxfound.numerics.histogram import MISSING, running_count, running_sum

__all__ = ["split_large"]

_CODES = MISSING + 1
_BLOCK = 256  # rows of a large node at a time


def split_large(problem: Problem, plan: Plan, state: State) -> State:
    """Splits the node on top of the first stack."""
    really = state.n_nodes > 0
    state, top, _ = pop(state, plan, 0, 1)
    top, features = settled(really, top, features_to_try(opened_of(top), plan, problem.limits))
    opened = opened_of(top)
    node = jax.tree.map(lambda leaf: leaf[0], opened)
    blocks = -(-node.count // _BLOCK)
    grid, pure = _grid_of_blocks(problem, plan, state, node, blocks)
    left = settled(really, _histograms(problem, plan, state, node, blocks, features[0], grid))
    found = _candidates_of_histograms(left, plan, grid)
    split, again, place, code, missing_left, score = decide(
        problem, plan, opened, found, ~pure, really
    )
    weight = found.left[0, 0, place[0]]
    here = jnp.arange(_CODES, dtype=jnp.int32)
    above = jnp.where((weight > weight[code[0]]) & (here < MISSING), here, MISSING).min()
    feature = features[0, place[0]]
    absent = left[0, place[0], MISSING] == left[0, place[0], MISSING - 1]
    feature, code, above, split, missing_left = settled(
        really, feature, code, above, split, missing_left
    )
    order, rows_left = _partition_blocks(
        problem, plan, state, node, blocks, split[0], (feature, code[0], missing_left[0])
    )
    side = _sums_of_children(left[:, place[0]], code[0], missing_left[0])
    choice = Choice(
        split,
        again,
        feature[None],
        code,
        jnp.where(above == MISSING, code, above),
        default_side(plan, missing_left, absent, rows_left, node.count),
        score,
        rows_left[None],
        found.weight,
        _weight_of(side[0], plan)[None],
        _pure_children(side, plan)[:, None],
        jnp.stack(draws.children(opened.seed)),
    )
    return branch(state._replace(order=order), problem, plan, opened, choice, 0)


def _block(plan, state, node, i):
    """Rows of one block of a node, and whether they are its own."""
    source = node.depth % 2 * plan.half + node.start + i * _BLOCK
    rows = jax.lax.dynamic_slice(state.order, (source,), (_BLOCK,))
    return rows, i * _BLOCK + jnp.arange(_BLOCK, dtype=jnp.int32) < node.count


def _grid_of_blocks(problem, plan, state, node, blocks):
    if plan.channels.classes:
        return None, jnp.asarray(False)
    outputs = plan.channels.outputs

    def look(i, known):
        low, high, weight = known
        rows, live = _block(plan, state, node, i)
        y = take_target(problem, plan, rows)
        return (
            jnp.minimum(low, jnp.where(live[None], y, jnp.inf).min(-1)),
            jnp.maximum(high, jnp.where(live[None], y, -jnp.inf).max(-1)),
            weight + jnp.where(live, take(problem.weight, rows), 0).sum(dtype=jnp.int32),
        )

    start = (jnp.full(outputs, jnp.inf), jnp.full(outputs, -jnp.inf), jnp.asarray(0, jnp.int32))
    low, high, weight = jax.lax.fori_loop(0, blocks, look, start)
    return target_grid(plan, low[:, None], high[:, None], weight[None]), (low >= high).all()


def _histograms(problem, plan, state, node, blocks, features, grid):
    """Running sums over the codes of every feature `[c k 256]`; float32, all exact."""
    k, channels = plan.tried, plan.channels
    width = sum(channels.classes) or 1 + channels.outputs
    base = (features * plan.rows).astype(jnp.uint32)
    slot = jnp.arange(k, dtype=jnp.int32)[:, None] * _CODES

    def add(i, sums):
        rows, live = _block(plan, state, node, i)
        row = data_row(plan, rows)
        at = slot + take(problem.codes, base[:, None] + row[None]).astype(jnp.int32)
        weight = jnp.where(live, take(problem.weight, rows), 0)
        for channel, value in _entries(problem, plan, rows, weight, live, grid):
            sums = sums.at[(channel * (k * _CODES) + at).astype(jnp.uint32)].add(
                jnp.broadcast_to(value[None], at.shape), mode="promise_in_bounds"
            )
        return sums

    zeros = jnp.zeros((width + plan.count_rows) * k * _CODES, jnp.int32)
    sums = jax.lax.fori_loop(0, blocks, add, zeros)
    return running_sum(sums.reshape(-1, k, _CODES))


def _entries(problem, plan, rows, weight, live, grid):
    """`(channel, value)` of every row, to be added to the histograms."""
    y, classes = take_target(problem, plan, rows), plan.channels.classes
    if classes:
        yield from ((label[None], weight) for label in y)
    else:
        yield 0, weight
        yield from enumerate(on_grid(y[:, None], grid)[:, 0] * weight[None], 1)
    if plan.count_rows:
        yield (sum(classes) or 1 + len(y)), live.astype(jnp.int32)


def _candidates_of_histograms(left, plan, grid):
    classes = plan.channels.classes
    if classes:
        weight = left[: classes[0]].sum(0)
        looked_at = [left[column] for column in plan.channels.chosen]
        left = jnp.stack([weight, *looked_at, *([left[-1]] if plan.count_rows else [])])
    left = left[:, None]
    missing = left[..., MISSING:] - left[..., MISSING - 1 : MISSING] if plan.missing else None
    code = jnp.arange(_CODES, dtype=jnp.int32)
    code = jnp.broadcast_to(code, left.shape[1:])
    total = left[:, :, :1, -1:]
    return Candidates(code, left, missing, total, total[0, :, 0, 0], grid)


def _partition_blocks(problem, plan, state, node, blocks, split, where):
    """Writes the rows of a node into the other half, those of the left child in front."""
    target = (1 - node.depth % 2) * plan.half + node.start
    here = jnp.arange(_BLOCK, dtype=jnp.int32)
    base = (where[0] * plan.rows).astype(jnp.uint32)

    def move(i, known):
        order, low, high = known
        rows, live = _block(plan, state._replace(order=order), node, i)
        code = take(problem.codes, base + data_row(plan, rows)).astype(jnp.int32)
        left = live & goes_left(code, *where[1:])
        up_to = running_count(left)
        place = jnp.where(left, target + low + up_to - 1, target + high - 1 - (here - up_to))
        place = jnp.where(live, place, 2 * plan.half).astype(jnp.uint32)
        order = order.at[place].set(rows, mode="promise_in_bounds")
        right = jnp.minimum(node.count - i * _BLOCK, _BLOCK) - up_to[-1]
        return order, low + up_to[-1], high - right

    start = (state.order, jnp.asarray(0, jnp.int32), node.count)
    order, rows_left, _ = jax.lax.fori_loop(0, jnp.where(split, blocks, 0), move, start)
    return order, rows_left


def _sums_of_children(left, code, missing_left):
    """Of the chosen feature `[c 256]`: the sums of both children `[2 c]`."""
    total, missing = left[:, -1], left[:, MISSING] - left[:, MISSING - 1]
    side = left[:, code] + jnp.where(missing_left, missing, 0)
    return jnp.stack([side, total - side])


def _weight_of(sums, plan):
    """Of the sums `[c]` of a side."""
    return sums[: plan.channels.classes[0]].sum() if plan.channels.classes else sums[0]


def _pure_children(sums, plan):
    """Whether all weight of a child is in one class; targets are looked at when it is opened."""
    pure, start = jnp.ones(2, bool), 0
    for k in plan.channels.classes:
        own = sums[:, start : start + k]
        pure &= own.max(1) >= own.sum(1)
        start += k
    return pure & bool(plan.channels.classes)
