"""Walks rows down a table of nodes, all of them a level at a time."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Bool, Float, Int, Shaped

__all__ = ["Steps", "descend", "steps"]


class Steps(NamedTuple):
    """What a row asks of a node, in as few arrays as can be; a leaf leads to itself."""

    feature: Shaped[Array, "*s"]  # times two, plus one where a missing value goes to the left
    threshold: Float[Array, "*s"]
    left: Shaped[Array, "*s"]  # the right child is the next


def steps(
    feature: Int[Array, "*s"],
    threshold: Float[Array, "*s"],
    left: Int[Array, "*s"],
    missing_left: Bool[Array, "*s"],
) -> Steps:
    """Of a table where a negative child means a leaf."""
    is_leaf = left < 0
    own = jnp.arange(left.shape[-1], dtype=left.dtype)
    own = jnp.broadcast_to(own, left.shape)
    question = 2 * jnp.where(is_leaf, 0, feature) + (is_leaf | missing_left).astype(feature.dtype)
    return Steps(
        question.astype(jnp.uint32),
        jnp.where(is_leaf, jnp.inf, threshold),
        jnp.where(is_leaf, own, left).astype(jnp.uint32),
    )


def descend(
    table: Steps, x: Float[Array, "n d"], root: Int[Array, ""] | int = 0
) -> Int[Array, " n"]:
    """The leaf of each row, by as many gathers as the tree is deep."""
    n, d = x.shape
    values, base = x.reshape(-1), jnp.arange(n, dtype=jnp.uint32) * jnp.uint32(d)

    def take(array: Any, index: Any) -> Any:
        return array.at[index].get(mode="promise_in_bounds")

    def step(node):
        question = take(table.feature, node)
        value = take(values, base + (question >> 1))
        missing = jnp.isnan(value) & ((question & 1) == 1)
        lower = (value <= take(table.threshold, node)) | missing
        return take(table.left, node) + (~lower).astype(jnp.uint32)

    def walk(known):
        before, _ = known
        node = step(before)
        return node, (node != before).any()

    start = jnp.broadcast_to(jnp.asarray(root, jnp.uint32), (n,))
    node, _ = jax.lax.while_loop(lambda known: known[1], walk, (start, jnp.asarray(True)))
    return node.astype(jnp.int32)
