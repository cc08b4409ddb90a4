"""A random forest: trees on bootstrap samples that look at a few features in every node.

A bootstrap sample is a weight of every row, the number of times that it was drawn. Trees are grown
in pools that share one table of nodes, one pool after the other.
"""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._show import as_table
from jaxfound._types import Array, Float, Info, Int, Key, Shaped
from jaxfound.models import tree
from jaxfound.numerics import draws, leaves
from jaxfound.numerics.descent import descend
from jaxfound.numerics.growth import Problem

__all__ = [
    "Config",
    "Hyper",
    "Params",
    "apply",
    "fit",
    "fit_seeds",
    "grow",
    "in_bag",
    "most_pooled",
    "out_of_bag",
    "planted",
    "pool_size",
    "predict",
    "predict_proba",
    "seeds",
    "shares",
]

_POOL_ROWS = 20_000  # of a pool: its codes and rows stay in a second-level cache
_POOLED = 20  # trees at most
_MOST_DRAWN = 16  # times n
_TREES = tree.Config()


class Params(NamedTuple):
    """Tables of nodes, each of several trees."""

    nodes: tree.Params  # `[p s]`
    root: Int[Array, "p g"]  # of each tree, in its table

    _repr_html_ = as_table


class Hyper(NamedTuple):
    trees: tree.Hyper = tree.Hyper()
    max_samples: Float[Array, ""] | float = jnp.inf  # drawn; by default as many as their weight

    _repr_html_ = as_table


@dataclasses.dataclass(frozen=True)
class Config:
    trees: tree.Config = _TREES
    n_trees: int = 100
    bootstrap: bool = True
    balanced: bool = False  # classes weigh the same in every bootstrap sample


@partial(jax.jit, static_argnames="config")
def fit(
    x: Float[Array, "n d"],
    y: Shaped[Array, "n *o"],
    weight: Shaped[Array, " n"] | None = None,
    hyper: Hyper = Hyper(),
    key: Key | None = None,
    *,
    config: Config = Config(),
) -> tuple[Params, Info]:
    """Grows `config.n_trees` trees; those of a pool share one table of nodes.

    Args:
      x, y, hyper: as for `tree.fit`.
      weight: 0 means that the row is absent. Rows are drawn in proportion to it, as many as their
        weight (or as are present, where it is not whole), but 16 n at most; without the bootstrap
        it is the weight of the row in every tree.
      key: of the samples and the features; None is `jax.random.key(0)`.

    Returns:
      `(Params, Info)`; derivatives are refused, as those of a tree are.

    Reference: L. Breiman, Random forests, Machine Learning 45, 2001.
    """
    found = seeds(jax.random.key(0) if key is None else key, config.n_trees)
    return fit_seeds(x, y, weight, hyper, found, config=config)


def fit_seeds(
    x: Float[Array, "n d"],
    y: Shaped[Array, "n *o"],
    weight: Shaped[Array, " n"] | None,
    hyper: Hyper,
    seed: Shaped[Array, " t"],
    *,
    config: Config,
) -> tuple[Params, Info]:
    """The trees of the given seeds: a forest in parts is the parts of a forest."""
    x, weight = tree.refuse_gradient(x, weight)
    rows = leaves.binned_rows(x, y, weight, tree.channels_of(config.trees, y))
    return grow(rows, hyper, seed, config=config)


def grow(
    rows: leaves.Rows, hyper: Hyper, seed: Shaped[Array, " t"], *, config: Config
) -> tuple[Params, Info]:
    """The trees of the given seeds, from rows that are binned already."""
    n, t = len(rows.weight), len(seed)
    g = pool_size(n, t, config)

    features = draws.span(len(rows.bins.low))

    def pool(seed):
        problem, own, unit = planted(rows, hyper, seed, features, config=config)
        grown = tree.grow(problem, tree.plan_of(rows, g, config.trees))
        return tree.params_of(grown, rows, own, unit, config.trees)

    nodes = jax.lax.map(pool, seed.reshape(-1, g))
    root = jnp.broadcast_to(jnp.arange(g, dtype=jnp.int32), (t // g, g))
    return Params(nodes, root), tree.info(nodes)


def planted(
    rows: leaves.Rows,
    hyper: Hyper,
    seed: Shaped[Array, " g"],
    features: draws.Span,
    *,
    config: Config,
) -> tuple[Problem, Int[Array, "g n"], Float[Array, " g"]]:
    """What a pool of trees grows from, the weights of the rows in each, and what 1 stands for."""
    weight, unit = jax.vmap(lambda s: _tree_weight(rows, hyper, s, config))(seed)
    problem = tree.problem_of(rows, weight, unit, seed, hyper.trees, features, config.trees)
    return problem, weight, unit


def predict(params: Params, x: Float[Array, "n d"]) -> Shaped[Array, "n *o"]:
    """The class of the largest mean share, or the mean of the trees. Several outputs `[n o]`."""
    return tree.decided(shares(params, x))


def predict_proba(params: Params, x: Float[Array, "n d"]) -> Float[Array, "n *o c"]:
    """Mean shares of the classes in the leaves; of one output `[n c]`, else `[n o c]`."""
    found = shares(params, x)
    return found[:, 0] if found.shape[1] == 1 else found


def shares(params: Params, x: Float[Array, "n d"]) -> Float[Array, "n o c"]:
    """The mean over the trees of the values of the leaves."""

    def add(total, of_tree):
        return total + of_tree, None

    total: Any = _over_trees(params, x, add)
    return total * (1 / params.root.size)


def apply(params: Params, x: Float[Array, "n d"]) -> Int[Array, "t n"]:
    """The leaf of every row in every tree, a place in the table of its pool."""

    (x,) = tree.refuse_gradient(x)

    def pool(known):
        table, roots = known
        return jax.lax.map(lambda root: descend(table, x, root), roots)

    return jax.lax.map(pool, (tree.steps_of(params.nodes), params.root)).reshape(-1, len(x))


def out_of_bag(
    params: Params,
    x: Float[Array, "n d"],
    rows: leaves.Rows,
    hyper: Hyper,
    seed: Shaped[Array, " t"],
) -> tuple[Float[Array, "n o c"], Int[Array, " n"]]:
    """The sum over the trees that have not seen a row, and how many these are.

    Args:
      x, rows: those of the fit, as they were and binned.
      seed: of the trees, in their order.
    """

    def add(known, of_tree, seed):
        total, count = known
        unseen = in_bag(rows, hyper, seed) == 0
        return (
            total + jnp.where(unseen[:, None, None], of_tree, 0),
            count + unseen.astype(jnp.int32),
        ), None

    zeros = jnp.zeros(len(x), jnp.int32)
    found: Any = _over_trees(params, x, add, seed.reshape(params.root.shape), zeros)
    return found


def in_bag(rows: leaves.Rows, hyper: Hyper, seed: Shaped[Array, ""]) -> Int[Array, " n"]:
    """How often the bootstrap of a tree draws each row."""
    weight, n = rows.weight, len(rows.weight)
    present = (weight > 0).sum(dtype=jnp.int32)
    total = jnp.where(rows.weight_unit == 1, weight.sum(dtype=jnp.int32), present)
    given = jnp.asarray(hyper.max_samples, jnp.float32)
    count = jnp.where(jnp.isfinite(given), jnp.round(given), total.astype(jnp.float32))
    count = jnp.clip(count, 1, _MOST_DRAWN * n).astype(jnp.int32)
    return draws.draw_rows(seed, weight, count)


def seeds(key: Key, n_trees: int, first: int = 0) -> Shaped[Array, " t"]:
    """Of trees `first` and following: that of a tree does not depend on how many there are."""
    trees = jnp.arange(first, first + n_trees, dtype=jnp.int32)
    return jax.vmap(lambda i: jax.random.bits(jax.random.fold_in(key, i), (), jnp.uint32))(trees)


def pool_size(n: int, n_trees: int, config: Config) -> int:
    """How many trees grow together: a divisor of their number."""
    most = min(most_pooled(n, config), n_trees)
    return next(g for g in range(most, 0, -1) if n_trees % g == 0)


def most_pooled(n: int, config: Config) -> int:
    """How many trees of `n` rows a pool should have at most."""
    return 1 if config.trees.max_leaf_nodes is not None else max(1, min(_POOLED, _POOL_ROWS // n))


def _over_trees(params, x, add, *more):
    """Folds `add(total, values of the leaves, ...)` over all trees, in their order."""
    seed, *start = more if more else (None,)
    value = params.nodes.value
    total = jnp.zeros((len(x), *value.shape[2:]), value.dtype)

    (x,) = tree.refuse_gradient(x)

    def pool(known, of_pool):
        table, value, roots, seeds = of_pool

        def one(known, of_tree):
            root, *rest = [part for part in of_tree if part is not None]
            leaf = descend(table, x, root)
            return add(known, value.at[leaf].get(mode="promise_in_bounds"), *rest)

        return jax.lax.scan(one, known, (roots, seeds))

    start = (total, *start) if start else total
    table = tree.steps_of(params.nodes)
    return jax.lax.scan(pool, start, (table, value, params.root, seed))[0]


def _tree_weight(rows, hyper, seed, config):
    """Whole weights of the rows in a tree, and what 1 stands for."""
    if not config.bootstrap:
        return rows.weight, rows.weight_unit
    drawn = in_bag(rows, hyper, seed)
    if not config.balanced:
        return drawn, jnp.ones_like(rows.weight_unit)
    weight = drawn.astype(rows.weight_unit.dtype)
    for label, k in zip(rows.value, config.trees.classes, strict=True):
        count = jnp.zeros(k, jnp.int32).at[label].add(drawn, mode="drop")
        each = (count > 0).sum(dtype=jnp.int32) * jnp.maximum(count, 1)
        weight = weight * (drawn.sum(dtype=jnp.int32) / each).astype(weight.dtype)[label]
    return leaves.whole_weights(weight)
