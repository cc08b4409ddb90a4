"""Pools of trees on the device, by programs that data of many shapes share.

The growth of trees takes seconds to compile, so that its program sees whole numbers and float32
only, the same ones for every dtype. Small data are padded until few shapes are left: with rows of
weight zero, columns that no node looks at, and classes that no row has.
"""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxfound.estimators._base import Table, placed
from jaxfound.models import forest, tree
from jaxfound.numerics import draws, leaves

__all__ = ["Ground", "grown_pool", "growth", "prepared"]

# Rows to which small data are padded, and then columns.
_SHAPES = {64: (8, 32), 512: (4, 8, 16, 32)}


class Ground(NamedTuple):
    """What all trees of an estimator grow on."""

    x: Any  # as placed on the device, padded
    rows: leaves.Rows
    features: draws.Span  # the columns that are not padding
    config: forest.Config  # of the padded data
    n_shares: int  # in the value of a leaf; what is more is padding


def prepared(table: Table, config: forest.Config) -> Ground:
    """The rows of a table on the device, binned; inside a `compute_scope`."""
    n, d = table.x.shape
    trees = config.trees
    tried = trees.max_features or d
    shape = _padded(n, d)
    if shape is not None:
        trees = dataclasses.replace(
            trees,
            max_features=shape[1] if tried == d else max(4, _power_of_two(tried)),
            n_classes=tuple(max(2, _power_of_two(k)) for k in trees.classes),
        )
    x, y, weight = placed(table, shape)
    return Ground(
        x,
        _binned(x, y, weight, channels=tree.channels_of(trees, y)),
        draws.span(d),
        dataclasses.replace(config, trees=trees),
        max(2, *config.trees.classes) if config.trees.classes else 1,
    )


def grown_pool(
    ground: Ground, hyper: forest.Hyper, seed: np.ndarray
) -> tuple[tree.Params, np.ndarray]:
    """The trees of the given seeds in one table of nodes, on the host, and their roots."""
    config = dataclasses.replace(ground.config, n_trees=len(seed))
    problem, weight, unit = _planted(ground.rows, hyper, seed, ground.features, config=config)
    plan = tree.plan_of(ground.rows, len(seed), config.trees)
    with jax.enable_x64(False):  # nothing in it has a wide dtype, whatever the data have
        grown = growth(problem, plan=plan)
    found = _finished(grown, ground.rows, weight, unit, config=config.trees)
    nodes = tree.Params._make(map(np.asarray, found))
    nodes = nodes._replace(value=nodes.value[..., : ground.n_shares])
    return nodes, np.arange(len(seed), dtype=np.int32)


def _padded(n, d):
    """The shape that small data get."""
    fitting = [(s, w) for s, widths in _SHAPES.items() for w in widths if n <= s and d <= w]
    return min(fitting, default=None)


def _power_of_two(n):
    return 1 << (n - 1).bit_length()


_binned = partial(jax.jit, static_argnames="channels")(leaves.binned_rows)
_planted = partial(jax.jit, static_argnames="config")(forest.planted)
# Its kernels are too small to be shared by threads; trees are spread over the cores instead.
_OPTIONS = {"xla_cpu_multi_thread_eigen": False}
growth = partial(jax.jit, static_argnames="plan", compiler_options=_OPTIONS)(tree.grow)
_finished = partial(jax.jit, static_argnames="config")(tree.params_of)
