"""Small nodes are split many at a time, by comparing the rows of each in pairs."""

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
from jaxfound.numerics.histogram import MISSING, running_count
from jaxfound.numerics.splits import take_feature

__all__ = ["split_small"]

_PACKED_BITS = 15  # of the weight of a small node, where two sums share a word
_CHUNK = 8  # longer sums are rewritten by XLA's CPU compiler into something three times slower


def split_small(
    problem: Problem, plan: Plan, state: State, *, stack: int, size: int, batch: int
) -> State:
    """Splits up to `batch` nodes of at most `size` rows."""
    really = state.n_nodes > 0
    state, top, live = pop(state, plan, stack, batch)
    top, live, features = settled(
        really, top, live, features_to_try(opened_of(top), plan, problem.limits)
    )
    opened = opened_of(top)
    here = jnp.arange(size, dtype=jnp.int32)[None]
    held = here < opened.count[:, None]
    source = opened.depth % 2 * plan.half + opened.start
    # Places behind the rows of a node repeat its last one, with no weight.
    place = source[:, None] + jnp.minimum(here, jnp.maximum(opened.count[:, None] - 1, 0))
    rows = take(state.order, place)
    y = take_target(problem, plan, rows)
    weight = jnp.where(held, take(problem.weight, rows), 0)
    base = (features * plan.rows).astype(jnp.uint32)
    codes = take(problem.codes, base[..., None] + data_row(plan, rows)[:, None]).astype(jnp.int32)
    codes, rows, y, weight, held = settled(really, codes, rows, y, weight, held)
    found, differs = _candidates_of_pairs(plan, codes, y, weight, held, really)
    split, again, place, code, missing_left, score = decide(
        problem, plan, opened, found, live & differs, really
    )
    own = take_feature(codes, place)
    above = jnp.where(held & (own > code[:, None]) & (own < MISSING), own, MISSING).min(-1)
    split, code, missing_left, own = settled(really, split, code, missing_left, own)
    left = held & goes_left(own, code[:, None], missing_left[:, None])
    up_to = settled(really, running_count(left))
    rows_left = up_to[:, -1]
    target = (1 - opened.depth % 2) * plan.half + opened.start
    to_left, to_right = up_to - 1, opened.count[:, None] - 1 - (here - up_to)
    place_of = target[:, None] + jnp.where(left, to_left, to_right)
    place_of = jnp.where(held & split[:, None], place_of, 2 * plan.half)
    order = state.order.at[place_of.astype(jnp.uint32)].set(rows, mode="promise_in_bounds")
    feature = take_feature(features[..., None], place)[:, 0]
    absent = ~(held & (own == MISSING)).any(-1)
    choice = Choice(
        split,
        again,
        feature,
        code,
        jnp.where(above == MISSING, code, above),
        default_side(plan, missing_left, absent, rows_left, opened.count),
        score,
        rows_left,
        weight.sum(-1, dtype=jnp.int32),
        _masked_sum(left, weight),
        _same(y, jnp.stack([left, held & ~left])),
        jnp.stack(draws.children(opened.seed)),
    )
    return branch(state._replace(order=order), problem, plan, opened, choice, stack)


def _candidates_of_pairs(plan, codes, y, weight, held, really):
    """Every row is a candidate: what it and all rows of no larger code send to the left."""
    low, high = _range(y, held)
    if plan.channels.classes:
        grid, columns = None, _class_words(plan, y, weight, held)
    else:
        grid = target_grid(plan, low, high, weight.sum(-1, dtype=jnp.int32))
        columns = [weight, *(on_grid(y, grid) * weight[None])]
        columns += [held.astype(jnp.int32)] if plan.count_rows else []
    words = settled(really, jnp.stack(columns))

    def compare(word):
        # Inside a branch, where XLA does not move the comparisons out of the loop into memory.
        return jax.lax.cond(really, _up_to, lambda codes, _: jnp.zeros_like(codes), codes, word)

    left = _each(compare, words)
    total = words.sum(-1, dtype=jnp.int32)[..., None, None]
    missing = None
    if plan.missing:
        absent = codes == MISSING
        missing = _each(lambda word: _masked_sum(absent, word[:, None]), words)[..., None]
    left, missing, total = (_unpacked(part, plan) for part in (left, missing, total))
    mass = weight.sum(-1, dtype=jnp.int32).astype(jnp.float32)
    return Candidates(codes, left, missing, total, mass, grid), (low < high).any(0)


def _class_words(plan, y, weight, held):
    """Sums of two classes (or of the weight and a class) share a word of 32 bits."""
    total = weight.sum(-1, keepdims=True, dtype=jnp.int32)
    bits = 32 - jax.lax.clz(total)
    shift = jnp.maximum(bits - _PACKED_BITS, 0)
    weight = jnp.where(weight > 0, jnp.maximum(weight >> shift, 1), 0)
    output_of = [o for o, k in enumerate(plan.channels.per_output) for _ in range(k)]
    columns = [weight]
    columns += [
        jnp.where(y[o] == column, weight, 0)
        for o, column in zip(output_of, plan.channels.chosen, strict=True)
    ]
    columns += [held.astype(jnp.int32)] if plan.count_rows else []
    columns += [jnp.zeros_like(weight)] * (len(columns) % 2)
    return [a | b << 16 for a, b in zip(columns[::2], columns[1::2], strict=True)]


def _unpacked(words, plan):
    if words is None:
        return None
    count = 1 + len(plan.channels.chosen) + plan.count_rows
    if plan.channels.classes:
        words = jnp.stack([words & 0xFFFF, words >> 16 & 0xFFFF], 1)
        words = words.reshape(-1, *words.shape[2:])[:count]
    return words.astype(jnp.float32)


def _up_to(codes, values):
    """`[m k p]`: the sum of the values `[m p]` over the rows of no larger code."""
    sums = jnp.zeros_like(codes)
    for begin in range(0, codes.shape[-1], _CHUNK):
        part = slice(begin, begin + _CHUNK)
        smaller = codes[..., None, part] <= codes[..., :, None]
        sums += jnp.where(smaller, values[:, None, None, part], 0).sum(-1, dtype=jnp.int32)
    return sums


def _each(function, words):
    """Over the first axis; a few are written out, since a loop has its own cost."""
    if len(words) <= 3:
        return jnp.stack([function(word) for word in words])
    return jax.lax.map(function, words)


def _masked_sum(mask, values):
    return jnp.where(mask, values, 0).sum(-1, dtype=jnp.int32)


def _same(y, masks):
    """Whether the targets `[o m p]` of the rows in masks `[*s m p]` are all one: `[*s m]`."""
    low, high = _range(y, masks)
    return (low >= high).all(0)


def _range(y, masks):
    """The least and the largest of the targets `[o m p]` in masks `[*s m p]`: `[o *s m]`."""
    y = y.reshape(len(y), *[1] * (masks.ndim - 2), *y.shape[1:])
    none = jnp.asarray(-_most(y.dtype), y.dtype)
    both = jnp.where(masks[None], jnp.stack([-y, y]), none).max(-1)  # one pass for the two
    return -both[0], both[1]


def _most(dtype):
    return jnp.iinfo(dtype).max if jnp.issubdtype(dtype, jnp.integer) else jnp.inf
