"""Choices between trees of arrays, branches that stay branches under `vmap`, loops as a kernel."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata

from jaxfound._types import Array, Bool

__all__ = ["cond_per_lane", "lane_by_lane", "one_kernel", "where"]

_MARKS_CALLS = ((0, 10),)  # versions of JAX whose compiler takes the mark of `one_kernel`


def where(condition: Bool[Array, ""], this: Any, that: Any) -> Any:
    """The tree `this` where the condition holds, else `that`; both were computed."""
    return jax.tree.map(partial(jnp.where, condition), this, that)


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


def lane_by_lane(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, whose lanes under `vmap` run one after the other on a CPU.

    For loops that end at different times: in lock step every lane would pay for the slowest.
    Everything that is batched must come in as an argument; other devices run in lock step.
    """

    @jax.custom_batching.custom_vmap
    def single(*operands):
        return function(*operands)

    @single.def_vmap
    def _(axis_size, in_batched, *operands):
        del axis_size
        leaves, tree = jax.tree.flatten(operands)
        batched = jax.tree.leaves(in_batched)
        mapped = [x for x, b in zip(leaves, batched, strict=True) if b]

        def lane(call, own):
            own = iter(own)
            full = [next(own) if b else x for x, b in zip(leaves, batched, strict=True)]
            return call(*jax.tree.unflatten(tree, full))

        out = jax.lax.platform_dependent(
            *mapped,
            cpu=lambda *lanes: jax.lax.map(partial(lane, single), lanes),
            default=lambda *lanes: jax.vmap(partial(lane, function))(lanes),
        )
        return out, jax.tree.map(lambda _: True, out)

    return single


def one_kernel(jitted: Callable[..., Any]) -> Callable[..., Any]:
    """`jitted`, of arrays, as a single kernel on a CPU; for loops of many small steps.

    XLA calls a kernel for every fused operation of a loop, which takes longer than the operation
    where arrays have some hundred entries. Loops that it finds small it compiles to one kernel, in
    which steps cost no calls, and a call can be marked like them. That kernel runs on one thread.
    The compiler aborts where `jitted` does not read one of its operands, or holds a product of
    matrices, a scatter, a sort or a call of a library; so only versions that were tried get the
    mark. Operands on several devices would bring calls, so they have the loop as it is. Lanes run
    `lane_by_lane`.
    """

    def marked(*operands):
        # Constants would be moved into the call, which then does not read their operands.
        operands = jax.lax.optimization_barrier(operands)
        marks = {"inlineable": "false", "xla_cpu_small_call": "true"}
        return set_xla_metadata(jitted(*operands), **marks)

    def call(*operands):
        tried = jax.__version_info__[:2] in _MARKS_CALLS
        on_cpu = marked if tried and _on_one_device(operands) else jitted
        return jax.lax.platform_dependent(*operands, cpu=on_cpu, default=jitted)

    return lane_by_lane(call)


def _on_one_device(operands):
    return all(jax.typeof(leaf).sharding.mesh.size <= 1 for leaf in jax.tree.leaves(operands))
