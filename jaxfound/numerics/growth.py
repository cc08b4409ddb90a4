"""Grows trees on binned rows: one program whatever the depth, with whole-number sums only.

A *pool* of trees shares one order of rows (a row of tree t is the number `t n + row`), one table
of nodes and one set of stacks. The rows of a node lie together; a split writes those of its
children into the other half of a double buffer, from both ends, so nothing is sorted. Open nodes
wait on stacks by size: large ones are split one at a time through histograms (`large`), small ones
many at a time by comparing all their rows in pairs (`small`). What a node becomes depends on its
rows and its seed only, never on the order of visits: pools of any size grow the same trees.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Bool, Float, Int, Shaped
from jaxfound.numerics import draws
from jaxfound.numerics.histogram import running_count
from jaxfound.numerics.splits import Channels

__all__ = [
    "NO_CHILD",
    "Choice",
    "Grown",
    "Limits",
    "Open",
    "Plan",
    "Problem",
    "State",
    "branch",
    "grow",
    "opened_of",
    "pop",
]

NO_CHILD = -1  # in the place of a child or a feature: the node is a leaf
_SMALL = ((64, 8), (16, 64))  # rows of a small node at most, and nodes in a batch of them
SLACK = 512  # unused places behind the rows, which a block may read


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is static: sizes and what to look at."""

    rows: int  # n, a tree
    trees: int  # g, in the pool
    tried: int  # k, features looked at in a node at most
    capacity: int  # s, nodes of the pool
    channels: Channels
    missing: bool  # whether NaN may go to either side
    count_rows: bool  # whether a leaf must have a number of rows, beside a weight

    @property
    def small(self) -> tuple[tuple[int, int], ...]:
        """Rows of small nodes, and nodes in a batch. Few rows are not worth a second program."""
        return _SMALL if self.rows > _SMALL[0][0] else _SMALL[:1]

    @property
    def half(self) -> int:
        """Where the second half of the double buffer begins."""
        return self.trees * self.rows + SLACK

    @property
    def depots(self) -> tuple[tuple[int, ...], int]:
        """Where each stack begins, and where what is not pushed goes. Open nodes are disjoint."""
        least = [size for size, _ in self.small] + [1]
        batch = [1] + [m for _, m in self.small]
        begins = [0]
        for size, m in zip(least, batch, strict=True):
            begins.append(begins[-1] + self.trees * (self.rows // (size + 1) + 2) + m)
        return tuple(begins[:-1]), begins[-1]


class Limits(NamedTuple):
    max_depth: Int[Array, ""]
    min_split: Int[Array, ""]  # rows of a node that is split
    min_rows: Int[Array, ""]  # of a leaf, where `Plan.count_rows`
    min_weight: Float[Array, " g"]  # of a leaf
    min_gain: Float[Array, ""]  # of a split, times the share of the weight that it divides
    total: Float[Array, " g"]  # weight of a tree
    features: draws.Span  # there may be more columns, of padding
    tried: Any  # features looked at in a node


class Problem(NamedTuple):
    codes: Shaped[Array, " d*n"]  # uint8, features first
    target: Shaped[Array, " o*n"]  # columns of the classes, or float32 within [-1, 1]
    weight: Int[Array, " g*n"]  # the sum of a tree is below 2^23
    seed: Shaped[Array, " g"]
    limits: Limits


class Open(NamedTuple):
    """Nodes to split, `[m]`."""

    node: Any
    start: Any  # their rows, in the half that the parity of the depth says
    count: Any
    seed: Any
    depth: Any
    offset: Any  # features tried before, all of them constant


class Choice(NamedTuple):
    """What is decided about open nodes, `[m]`."""

    split: Any  # whether to split
    again: Any  # whether to look at further features
    feature: Any
    code: Any  # the largest that goes to the left
    above: Any  # the smallest that goes to the right
    missing_left: Any
    gain: Any
    rows_left: Any
    weight: Any  # of the node, and what goes to the left
    weight_left: Any
    pure: Any  # [2 m] whether a child is, those to the left first
    seed: Any  # [2 m] of the children


class State(NamedTuple):
    order: Int[Array, " r"]
    stack: Int[Array, "q 6"]
    heights: Int[Array, " c"]  # of the stacks
    n_nodes: Int[Array, ""]
    made: Int[Array, "s 4"]  # start, rows, depth and weight of a node
    links: Int[Array, "s 4"]  # feature, codes and side of the missing, left child, bits of the gain


class Grown(NamedTuple):
    """A table of nodes; those of different trees alternate, the roots come first."""

    feature: Int[Array, " s"]
    code: Int[Array, " s"]
    above: Int[Array, " s"]
    missing_left: Bool[Array, " s"]
    left: Int[Array, " s"]  # the right child is the next
    tree: Int[Array, " s"]
    gain: Float[Array, " s"]
    n_rows: Int[Array, " s"]
    weight: Int[Array, " s"]
    n_nodes: Int[Array, ""]
    leaf: Int[Array, "g n"]  # the leaf of every row; NO_CHILD for an absent one


def grow(
    problem: Problem,
    plan: Plan,
    split_large: Callable[[Problem, Plan, State], State],
    split_small: Callable[..., State],
) -> Grown:
    """Splits until no node is open, the largest nodes first."""
    state, present = _plant(problem, plan)
    if plan.rows > plan.small[0][0]:
        state = jax.lax.while_loop(
            lambda s: s.heights[0] > 0, partial(split_large, problem, plan), state
        )
    for i, (size, batch) in enumerate(plan.small, 1):
        state = jax.lax.while_loop(
            lambda s, i=i: s.heights[i] > 0,
            partial(split_small, problem, plan, stack=i, size=size, batch=batch),
            state,
        )
    return _harvest(state, present, plan)


def pop(
    state: State, plan: Plan, stack: int, batch: int
) -> tuple[State, Int[Array, "m 6"], Bool[Array, " m"]]:
    """Takes up to `batch` nodes off a stack; the rest of the batch is dead and has no rows."""
    height = state.heights[stack]
    taken = jnp.minimum(batch, height)
    begin = plan.depots[0][stack] + height - taken
    live = jnp.arange(batch, dtype=jnp.int32) < taken
    rows = jax.lax.dynamic_slice(state.stack, (begin, jnp.zeros_like(begin)), (batch, 6))
    rows = jnp.where(live[:, None], rows, 0)
    return state._replace(heights=state.heights.at[stack].add(-taken)), rows, live


def opened_of(rows: Int[Array, "m 6"]) -> Open:
    """The open nodes that rows of a stack say."""
    opened = Open(*rows.T)
    return opened._replace(seed=opened.seed.astype(jnp.uint32))


def branch(
    state: State, problem: Problem, plan: Plan, opened: Open, choice: Choice, stack: int
) -> State:
    """Writes what is decided, and pushes children, and nodes that must look further."""
    limits = problem.limits
    up_to = running_count(choice.split)
    left = state.n_nodes + 2 * (up_to - 1)
    split = choice.split & (left + 2 <= plan.capacity)  # a full table stops growing
    made = jnp.minimum(up_to[-1], (plan.capacity - state.n_nodes) // 2)
    node = jnp.where(split, opened.node, plan.capacity)
    codes = choice.code | choice.above << 8 | choice.missing_left.astype(jnp.int32) << 16
    gain = jax.lax.bitcast_convert_type(choice.gain, jnp.int32)
    links = jnp.stack([choice.feature, codes, left, gain], -1)

    right = jnp.arange(2, dtype=jnp.int32)[:, None]  # 0 of the left children, 1 of the right ones
    ids = jnp.where(split[None], left[None] + right, plan.capacity)
    start = opened.start[None] + right * choice.rows_left[None]
    count = jnp.stack([choice.rows_left, opened.count - choice.rows_left])
    depth = jnp.broadcast_to(opened.depth[None] + 1, ids.shape)
    weight = jnp.stack([choice.weight_left, choice.weight - choice.weight_left])
    alive = (count >= jnp.maximum(limits.min_split, 2)) & (depth < limits.max_depth)
    children = Open(ids, start, count, choice.seed, depth, jnp.zeros_like(ids))
    state = state._replace(
        n_nodes=state.n_nodes + 2 * made,
        links=state.links.at[node].set(links, mode="promise_in_bounds"),
        made=state.made.at[ids].set(
            jnp.stack([start, count, depth, weight.astype(jnp.int32)], -1),
            mode="promise_in_bounds",
        ),
    )
    # A node that looks further takes the place of its left child, which it has not got.
    again = choice.again[None] & (right == 0)
    further = opened._replace(offset=opened.offset + limits.tried)
    pushed = jax.tree.map(lambda o, c: jnp.where(again, o[None], c).ravel(), further, children)
    return _push(state, plan, pushed, (again | split[None] & alive & ~choice.pure).ravel(), stack)


def _push(state, plan, opened, pushed, stack):
    """The larger child of one parent first, so that a stack stays short."""
    rows = jnp.stack([o.astype(jnp.int32) for o in opened], -1)
    if len(pushed) == 2:
        larger_first = (opened.count[0] < opened.count[1]).astype(jnp.int32) ^ jnp.arange(
            2, dtype=jnp.int32
        )
        rows, pushed = rows[larger_first], pushed[larger_first]
    sizes = jnp.asarray([size for size, _ in plan.small], jnp.int32)
    kind = (rows[None, :, 2] <= sizes[:, None]).sum(0, dtype=jnp.int32)
    begins, nowhere = plan.depots
    place = jnp.full(len(pushed), nowhere, jnp.int32)
    mine = pushed[None] & (kind[None] == jnp.arange(stack, len(begins), dtype=jnp.int32)[:, None])
    rank = running_count(mine)  # no child is larger than its parent
    for own, begin, height, up_to in zip(
        mine, begins[stack:], state.heights[stack:], rank, strict=True
    ):
        place = jnp.where(own, begin + height + up_to - 1, place)
    return state._replace(
        stack=state.stack.at[place.astype(jnp.uint32)].set(rows, mode="promise_in_bounds"),
        heights=state.heights.at[stack:].add(rank[:, -1]),
    )


def _plant(problem, plan):
    """The roots, with their rows that are present in front."""
    trees, n, capacity = plan.trees, plan.rows, plan.capacity
    weight = problem.weight.reshape(trees, n)
    live = weight > 0
    rank = jnp.cumsum(live, axis=1, dtype=jnp.int32)
    tree = jnp.arange(trees, dtype=jnp.int32)
    place = jnp.where(live, tree[:, None] * n + rank - 1, 2 * plan.half)
    order = jnp.zeros(2 * plan.half + 1, jnp.int32)
    order = order.at[place.ravel()].set(jnp.arange(trees * n, dtype=jnp.int32))
    present = rank[:, -1]
    zero = jnp.zeros_like(tree)
    roots = Open(
        tree, tree * n, present, draws.mix(problem.seed ^ jnp.uint32(0x51ED270B)), zero, zero
    )
    limits = problem.limits
    state = State(
        order=order,
        stack=jnp.zeros((plan.depots[1] + 1, 6), jnp.int32),
        heights=jnp.zeros(len(plan.small) + 1, jnp.int32),
        n_nodes=jnp.asarray(trees, jnp.int32),
        made=jnp.zeros((capacity + 1, 4), jnp.int32)
        .at[:trees]
        .set(jnp.stack([roots.start, present, zero, weight.sum(1, dtype=jnp.int32)], -1)),
        links=jnp.full((capacity + 1, 4), NO_CHILD, jnp.int32),
    )
    alive = (present >= jnp.maximum(limits.min_split, 2)) & (limits.max_depth > 0)
    alive &= ~_is_pure(problem, live, plan)
    return _push(state, plan, roots, alive, 0), present


def _is_pure(problem, live, plan):
    # Of the roots; a class and a target alike: nothing differs.
    wide = problem.target.reshape(-1, 1, plan.rows).astype(jnp.float32)
    low = jnp.where(live, wide, jnp.inf).min(-1)
    high = jnp.where(live, wide, -jnp.inf).max(-1)
    return (low >= high).all(0)


def _harvest(state, present, plan):
    links, made = state.links[: plan.capacity], state.made[: plan.capacity]
    feature, codes, left, gain = links.T
    is_leaf = (left == NO_CHILD) & (jnp.arange(plan.capacity, dtype=jnp.int32) < state.n_nodes)
    codes = jnp.where(left == NO_CHILD, 0, codes)
    return Grown(
        feature=feature,
        code=codes & 255,
        above=codes >> 8 & 255,
        missing_left=codes >> 16 == 1,
        left=left,
        tree=made[:, 0] // plan.rows,
        gain=jnp.where(left == NO_CHILD, 0, jax.lax.bitcast_convert_type(gain, jnp.float32)),
        n_rows=made[:, 1],
        weight=made[:, 3],
        n_nodes=state.n_nodes,
        leaf=_leaves(state.order, made, is_leaf, present, plan),
    )


def _leaves(order, made, is_leaf, present, plan):
    """The leaf of every row: a leaf is marked where its rows begin, and the mark carried on."""
    size = plan.trees * plan.rows
    nodes = jnp.arange(plan.capacity, dtype=jnp.int32)
    begin = jnp.where(is_leaf & (made[:, 1] > 0), made[:, 0], size)
    mark = jnp.full(size + 1, NO_CHILD, jnp.int32).at[begin].set(nodes)[:size]
    place = jnp.arange(size, dtype=jnp.int32)
    leaf = mark[jax.lax.cummax(jnp.where(mark >= 0, place, 0))]
    row = order[place + made[leaf, 2] % 2 * plan.half]
    held = jnp.arange(plan.rows, dtype=jnp.int32)[None] < present[:, None]
    found = jnp.full(size + 1, NO_CHILD, jnp.int32).at[jnp.where(held.ravel(), row, size)].set(leaf)
    return found[:size].reshape(plan.trees, plan.rows)
