"""What surrounds the growth of trees: rows made whole numbers before, leaves filled after it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Float, Int, Shaped
from jaxfound.numerics.growth import NO_CHILD, Grown
from jaxfound.numerics.histogram import Bins, bin_features, encode
from jaxfound.numerics.reduce import ones_like_rows
from jaxfound.numerics.splits import Channels, log2, rounded

__all__ = ["Rows", "binned_rows", "fill", "keep_best", "thresholds", "whole_weights"]

_WEIGHT_BITS = 22  # of the sum of all weights, so that float32 adds them exactly in any order
_SUM_BITS = 30  # of a sum in a word


class Rows(NamedTuple):
    """The data as growth wants it."""

    bins: Bins
    codes: Shaped[Array, " d*n"]
    target: Shaped[Array, " o*n"]  # for the splits
    weight: Int[Array, " n"]
    weight_unit: Float[Array, ""]
    value: Any  # for the leaves: classes or targets, `[o n]`
    value_unit: Float[Array, ""]  # of the targets of splits


def binned_rows(
    x: Float[Array, "n d"], y: Shaped[Array, "n *o"], weight: Any, channels: Channels
) -> Rows:
    """Codes, whole weights, and targets of moderate size.

    Whole weights of a moderate sum are taken as they are. Others are rounded to a grid so fine
    that their sum has 22 bits, and nothing that is positive becomes zero.
    """
    whole, unit = whole_weights(ones_like_rows(x, weight))
    bins = bin_features(x, whole)
    value = y.reshape(len(y), -1).T
    if channels.classes:
        value = value.astype(jnp.int32)
        starts = [sum(channels.classes[:o]) for o in range(channels.outputs)]
        target, value_unit = value + jnp.asarray(starts, jnp.int32)[:, None], jnp.ones((), x.dtype)
    else:
        value = jnp.where(whole > 0, value.astype(x.dtype), 0)
        target, value_unit = _moderate(value, whole > 0, channels.criterion == "poisson")
    codes = encode(x, bins)
    return Rows(bins, codes.reshape(-1), target.reshape(-1), whole, unit, value, value_unit)


def thresholds(grown: Grown, bins: Bins) -> Float[Array, " s"]:
    """Half way between the values on either side; 0 for a leaf."""
    feature = jnp.maximum(grown.feature, 0)
    below, above = bins.high[feature, grown.code], bins.low[feature, grown.above]
    middle = below * 0.5 + above * 0.5
    middle = jnp.where((middle < above) & jnp.isfinite(middle), middle, below)
    return jnp.where(grown.left == NO_CHILD, 0, middle)


def keep_best(grown: Grown, n_leaves: int) -> Grown:
    """Of one tree, keeps the splits that growing the best node first would have made."""
    size = len(grown.left)
    slots = jnp.arange(size, dtype=jnp.int32)
    inner = grown.left != NO_CHILD
    worth = jnp.where(inner, grown.gain * grown.weight.astype(jnp.float32), -1)

    def open_best(_, known):
        kept, frontier = known
        best = jnp.where(frontier, worth, -1).argmax().astype(jnp.int32)
        really = frontier[best] & inner[best]
        children = (slots == grown.left[best]) | (slots == grown.left[best] + 1)
        frontier = (frontier & ((slots != best) | ~really)) | (children & really)
        return kept | ((slots == best) & really), frontier

    start = (jnp.zeros(size, bool), slots == 0)
    kept, _ = jax.lax.fori_loop(0, n_leaves - 1, open_best, start)
    # Rows of what is gone belong to the nearest ancestor that is still there.
    left = jnp.where(inner, grown.left, size)
    parent = slots.at[left].set(slots, mode="drop").at[left + 1].set(slots, mode="drop")
    stays = kept[parent] | (parent == slots)  # the root and unused places have no parent
    home = jax.lax.while_loop(
        lambda home: ~stays[home].all(),
        lambda home: jnp.where(stays[home], home, parent[home]),
        slots,
    )
    return grown._replace(
        feature=jnp.where(kept, grown.feature, NO_CHILD),
        left=jnp.where(kept, grown.left, NO_CHILD),
        gain=jnp.where(kept, grown.gain, 0),
        n_rows=jnp.where(stays, grown.n_rows, 0),
        weight=jnp.where(stays, grown.weight, 0),
        leaf=jnp.where(grown.leaf == NO_CHILD, NO_CHILD, home[grown.leaf]),
    )


def fill(
    grown: Grown, rows: Rows, weight: Int[Array, "g n"], channels: Channels
) -> tuple[Float[Array, "s o c"], Float[Array, " s"]]:
    """Values (shares of the classes, or the mean with c = 1) and impurity of every leaf.

    From whole-number sums, so that the order of rows and the device make no difference. Nodes that
    are no leaves have zeros.
    """
    at = jnp.where(grown.leaf == NO_CHILD, len(grown.left), grown.leaf)
    total = jnp.where(grown.left == NO_CHILD, grown.weight, 0)
    if channels.classes:
        return _class_shares(at, rows, weight, total, grown, channels)
    found = [_mean(at, y, weight, total, grown) for y in rows.value]
    value, impurity = (jnp.stack(part, 1) for part in zip(*found, strict=True))
    return value[..., None], impurity.mean(1)


def _sum_at(at, values, grown):
    return jnp.zeros(len(grown.left), jnp.int32).at[at].add(values, mode="drop")


def _class_shares(at, rows, weight, total, grown, channels):
    size, width = len(grown.left), max(2, *channels.classes)
    inverse = 1 / jnp.maximum(total, 1).astype(rows.bins.low.dtype)[:, None]

    def one(label):
        label = jnp.broadcast_to(label, at.shape)
        counts = jnp.zeros((size, width), jnp.int32).at[at, label].add(weight, mode="drop")
        return jnp.where(counts == total[:, None], 1, counts.astype(inverse.dtype) * inverse)

    value = jnp.stack([one(label) for label in rows.value], 1)
    if channels.criterion == "entropy":
        known = value.astype(jnp.float32)
        spread = -rounded(known * log2(known)).sum(-1).astype(value.dtype)
    else:
        spread = 1 - rounded(value * value).sum(-1)
    here = total > 0
    return jnp.where(here[:, None, None], value, 0), jnp.where(here, spread.mean(-1), 0)


def _mean(at, y, weight, total, grown):
    """Mean and variance of a target, about the middle of its range in each leaf.

    The mean is summed in two words, which hold 30 bits less those of the weight each.
    """
    size, dtype = len(grown.left), y.dtype
    y, bits = jnp.broadcast_to(y, at.shape), jax.lax.clz(total) - (32 - _SUM_BITS)
    low = jnp.full(size, jnp.inf, dtype).at[at].min(y, mode="drop")
    high = jnp.full(size, -jnp.inf, dtype).at[at].max(y, mode="drop")
    varies = high > low
    middle, half = (low + high) * 0.5, jnp.where(varies, (high - low) * 0.5, 1)
    unit, coarse = jnp.ldexp(jnp.ones((), dtype), bits), jnp.ldexp(jnp.ones((), dtype), bits // 2)
    share = jnp.maximum(total, 1).astype(dtype)

    def mean_of(numbers, unit):
        return _sum_at(at, weight * numbers.astype(jnp.int32), grown).astype(dtype) / share / unit

    away = (y - middle.at[at].get(mode="clip")) / half.at[at].get(mode="clip")  # in [-1, 1]
    scaled = away * unit.at[at].get(mode="clip")
    first = jnp.round(scaled)
    second = jnp.round((scaled - first) * unit.at[at].get(mode="clip"))
    mean = mean_of(first, unit) + mean_of(second, unit) / unit
    square = mean_of(jnp.round(away * coarse.at[at].get(mode="clip")) ** 2, coarse) / coarse
    variance = rounded(jnp.maximum(square - rounded(mean * mean, 1), 0) * half) * half
    here = total > 0
    value = jnp.where(varies, middle + rounded(mean * half, 1), low)
    return jnp.where(here, value, 0), jnp.where(here & varies, variance, 0)


def whole_weights(weight: Float[Array, " n"]) -> tuple[Int[Array, " n"], Float[Array, ""]]:
    """Whole numbers in proportion to the weights, and what 1 stands for."""
    bound = weight.max() * (weight > 0).sum().astype(weight.dtype)
    _, exponent = jnp.frexp(bound)
    fine = jnp.ldexp(jnp.ones((), weight.dtype), _WEIGHT_BITS - exponent)
    whole = (weight == jnp.round(weight)).all() & (exponent <= _WEIGHT_BITS + 1)
    scale = jnp.where(whole, 1, fine)
    rounded_up = jnp.maximum(jnp.round(weight * scale), 1).astype(jnp.int32)
    return jnp.where(weight > 0, rounded_up, 0), 1 / scale


def _moderate(value, present, keep_zero):
    """Targets within [-1, 1] in float32, about the middle of their range, and the unit."""
    low = jnp.where(present, value, jnp.inf).min(1, keepdims=True)
    high = jnp.where(present, value, -jnp.inf).max(1, keepdims=True)
    middle = jnp.zeros_like(low) if keep_zero else low * 0.5 + high * 0.5
    away = jnp.where(present, value - middle, 0)
    _, exponent = jnp.frexp(jnp.abs(away).max())
    unit = jnp.ldexp(jnp.ones((), value.dtype), exponent)
    return (away / unit).astype(jnp.float32), unit
