"""Branches that stay branches under `vmap`."""

from collections.abc import Callable
from typing import Any

import jax

from jaxfound._types import Array, Bool

__all__ = ["cond_per_lane"]


def cond_per_lane(
    predicate: Bool[Array, ""],
    if_true: Callable[..., Any],
    if_false: Callable[..., Any],
    *operands: Any,
) -> Any:
    """`lax.cond` for a rare and expensive branch.

    `vmap` turns `lax.cond` into a select that runs both branches for every lane. Here a batched
    call maps over the lanes instead, so that only the lanes that ask for `if_true` pay for it.
    Everything that is batched must come in through `operands`.
    """

    @jax.custom_batching.custom_vmap
    def branch(predicate, *operands):
        return jax.lax.cond(predicate, if_true, if_false, *operands)

    @branch.def_vmap
    def _(axis_size, in_batched, predicate, *operands):
        del axis_size
        leaves, tree = jax.tree.flatten((predicate, *operands))
        batched = jax.tree.leaves(in_batched)

        def lane(mapped):
            mapped = iter(mapped)
            full = [next(mapped) if b else x for x, b in zip(leaves, batched, strict=True)]
            return branch(*jax.tree.unflatten(tree, full))

        out = jax.lax.map(lane, [x for x, b in zip(leaves, batched, strict=True) if b])
        return out, jax.tree.map(lambda _: True, out)

    return branch(predicate, *operands)
