"""A decision tree: hard splits, grown greedily, the same bits on every device.

A node sends a row to the left where `x[feature] <= threshold`. Splits are looked for between bins
of the features (`numerics.histogram`), of which there are 255, so that a feature with fewer
distinct values loses nothing.
"""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._show import as_table
from jaxfound._types import Array, Bool, Float, Info, Int, Key, Shaped
from jaxfound.numerics import draws, growth, leaves
from jaxfound.numerics.descent import Steps, descend, steps
from jaxfound.numerics.growth import NO_CHILD, Grown, Limits, Plan, Problem
from jaxfound.numerics.large import split_large
from jaxfound.numerics.small import split_small
from jaxfound.numerics.splits import Channels, Criterion

__all__ = [
    "NO_CHILD",
    "Config",
    "Hyper",
    "Params",
    "apply",
    "channels_of",
    "decided",
    "fit",
    "grow",
    "info",
    "params_of",
    "plan_of",
    "predict",
    "predict_proba",
    "problem_of",
    "refuse_gradient",
    "shares",
    "steps_of",
]

_UNBOUNDED = 2**30  # a depth that no tree has


class Params(NamedTuple):
    """A table of nodes, the root first. Places that are not used are leaves of weight 0."""

    feature: Int[Array, " s"]  # NO_CHILD for a leaf
    threshold: Float[Array, " s"]
    left: Int[Array, " s"]  # the right child is the next one; NO_CHILD for a leaf
    missing_left: Bool[Array, " s"]  # where NaN goes
    value: Float[Array, "s o c"]  # of a leaf: shares of c classes, or a mean (c = 1), by output
    impurity: Float[Array, " s"]  # of a leaf
    gain: Float[Array, " s"]  # the decrease of impurity by a split
    weight: Float[Array, " s"]
    n_rows: Int[Array, " s"]  # of positive weight

    _repr_html_ = as_table


class Hyper(NamedTuple):
    max_depth: Int[Array, ""] | float = jnp.inf
    min_samples_split: Float[Array, ""] | float = 2.0  # rows of positive weight
    min_samples_leaf: Float[Array, ""] | float = 1.0  # the same, where `Config.count_rows`
    min_weight_leaf: Float[Array, ""] | float = 0.0
    min_impurity_decrease: Float[Array, ""] | float = 0.0  # times the node's share of the weight
    max_features: Int[Array, ""] | float = jnp.inf  # looked at in a node; bounded by `Config`

    _repr_html_ = as_table


@dataclasses.dataclass(frozen=True)
class Config:
    criterion: Criterion = "gini"
    n_classes: int | tuple[int, ...] = 2  # one number an output; () for a regression
    max_features: int | None = None  # looked at in a node at most; None for all
    max_leaf_nodes: int | None = None  # the best are kept
    max_nodes: int | None = None  # places in the table; None for as many as there can be
    missing: bool = False  # whether NaN may go to either side; else it is a large value
    count_rows: bool = False  # whether `min_samples_leaf` is looked at

    @property
    def classes(self) -> tuple[int, ...]:
        return (self.n_classes,) if isinstance(self.n_classes, int) else self.n_classes


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
    r"""Splits every node by the feature and threshold of largest `splits.gain`, until it is pure.

    Args:
      x: rows; NaN is missing.
      y: classes 0 to k - 1, or targets; `[n]`, or several outputs `[n o]`.
      weight: 0 means that the row is absent, an integer that it is repeated; None is all ones.
      hyper: traced.
      key: of the features that a node looks at, and so of ties; None is `jax.random.key(0)`.

    Returns:
      `(Params, Info)`. `Info.value` is the impurity of the leaves times their weight. There is no
      derivative: asking for one is a TypeError. `soft_tree` has derivatives.

    Example:
      >>> params, _ = fit(x, y, config=Config(n_classes=3))

    Reference: L. Breiman, J. Friedman, R. Olshen, C. Stone, Classification and Regression Trees,
    1984, chapters 2 and 8.
    """
    x, weight = refuse_gradient(x, weight)
    key = jax.random.key(0) if key is None else key
    rows = leaves.binned_rows(x, y, weight, channels_of(config, y))
    own, unit = rows.weight[None], rows.weight_unit[None]
    seed = jax.random.bits(key, (1,), jnp.uint32)
    features = draws.span(x.shape[1])
    problem = problem_of(rows, own, unit, seed, hyper, features, config)
    params = params_of(grow(problem, plan_of(rows, 1, config)), rows, own, unit, config)
    return params, info(params)


def predict(params: Params, x: Float[Array, "n d"]) -> Shaped[Array, "n *o"]:
    """The class of largest share (the first at a tie), or the mean. Several outputs `[n o]`."""
    return decided(shares(params, x))


def predict_proba(params: Params, x: Float[Array, "n d"]) -> Float[Array, "n *o c"]:
    """Shares of the classes in the leaf of each row; of one output `[n c]`, else `[n o c]`."""
    found = shares(params, x)
    return found[:, 0] if found.shape[1] == 1 else found


def shares(
    params: Params, x: Float[Array, "n d"], root: Int[Array, ""] | int = 0
) -> Float[Array, "n o c"]:
    """The values of the leaves."""
    return params.value[apply(params, x, root)]


def apply(
    params: Params, x: Float[Array, "n d"], root: Int[Array, ""] | int = 0
) -> Int[Array, " n"]:
    """The leaf of each row, by as many gathers as the tree is deep."""
    (x,) = refuse_gradient(x)
    return descend(steps_of(params), x, root)


def steps_of(params: Params) -> Steps:
    """The table as `numerics.descent` walks it."""
    return steps(params.feature, params.threshold, params.left, params.missing_left)


def decided(found: Float[Array, "n o c"]) -> Shaped[Array, "n *o"]:
    """Of shares the class, of means the mean; one output is a vector."""
    found = found[..., 0] if found.shape[-1] == 1 else found.argmax(-1).astype(jnp.int32)
    return found[:, 0] if found.shape[1] == 1 else found


def channels_of(config: Config, y: Shaped[Array, "n *o"]) -> Channels:
    """What is summed: classes or targets."""
    return Channels(config.criterion, config.classes, 0 if config.classes else y[0].size)


def plan_of(rows: leaves.Rows, trees: int, config: Config) -> Plan:
    """All that the program of a growth depends on."""
    n, classes = len(rows.weight), config.classes
    return Plan(
        rows=n,
        trees=trees,
        tried=_tried(config, len(rows.bins.low)),
        capacity=trees * min(config.max_nodes or 2 * n, 2 * n),
        channels=Channels(config.criterion, classes, 0 if classes else len(rows.value)),
        missing=config.missing,
        count_rows=config.count_rows,
    )


def problem_of(
    rows: leaves.Rows,
    weight: Int[Array, "g n"],
    unit: Float[Array, " g"],
    seed: Shaped[Array, " g"],
    hyper: Hyper,
    features: draws.Span,
    config: Config,
) -> Problem:
    """All that a growth computes with: whole numbers and float32, whatever the data are.

    Args:
      features: the first columns, where more are padding.
    """
    limits = _limits(hyper, rows, weight, unit, features, config)
    return Problem(rows.codes, rows.target, weight.reshape(-1), seed, limits)


def grow(problem: Problem, plan: Plan) -> Grown:
    """The splits; `params_of` gives them thresholds and values."""
    return growth.grow(problem, plan, split_large, split_small)


def params_of(
    grown: Grown,
    rows: leaves.Rows,
    weight: Int[Array, "g n"],
    unit: Float[Array, " g"],
    config: Config,
) -> Params:
    """The table of a growth, in the dtype of the data."""
    if config.max_leaf_nodes is not None:
        grown = leaves.keep_best(grown, config.max_leaf_nodes)
    value, impurity = leaves.fill(grown, rows, weight, channels_of(config, rows.value.T))
    return Params(
        feature=grown.feature,
        threshold=leaves.thresholds(grown, rows.bins),
        left=grown.left,
        missing_left=grown.missing_left,
        value=value,
        impurity=impurity,
        gain=grown.gain.astype(value.dtype) * _gain_unit(rows, config),
        weight=grown.weight.astype(value.dtype) * unit[grown.tree],
        n_rows=grown.n_rows,
    )


def info(params: Params) -> Info:
    """How a growth ended: it always does."""
    is_leaf = params.left == NO_CHILD
    left_over = jnp.where(is_leaf, params.impurity * params.weight, 0).sum()
    return Info(
        n_iter=(~is_leaf).sum(),
        converged=jnp.asarray(True),
        value=left_over,
        residual=jnp.zeros_like(left_over),
        solver=jnp.asarray(0),
    )


def _tried(config, d):
    return min(d, config.max_features or d)


def _gain_unit(rows, config):
    return rows.value_unit if config.criterion == "poisson" else rows.value_unit**2


def _limits(hyper, rows, weight, unit, features, config):
    def whole(number):
        return jnp.ceil(jnp.clip(jnp.asarray(number, jnp.float32), 0, _UNBOUNDED)).astype(jnp.int32)

    least = jnp.asarray(hyper.min_weight_leaf, unit.dtype) / unit
    most = _tried(config, len(rows.bins.low))
    decrease = jnp.asarray(hyper.min_impurity_decrease, unit.dtype) / _gain_unit(rows, config)
    # A hair less than the gain, for those that are equal but for rounding.
    return Limits(
        max_depth=whole(hyper.max_depth),
        min_split=whole(hyper.min_samples_split),
        min_rows=whole(hyper.min_samples_leaf),
        min_weight=least.astype(jnp.float32),
        min_gain=(decrease * (1 - 1e-6)).astype(jnp.float32),
        total=weight.sum(1).astype(jnp.float32),
        features=features,
        tried=whole(hyper.max_features).clip(1, most),
    )


@jax.custom_jvp
def refuse_gradient(*arrays: Any) -> Any:
    """The arrays; a derivative through them is an error.

    Raises:
      TypeError: under `jax.grad`, `jax.jvp` and their kin.
    """
    return arrays


@refuse_gradient.defjvp
def _refuse(primals, tangents):
    del primals, tangents
    raise TypeError(
        "A hard tree has no derivative in its data: its splits jump. Use `models.soft_tree`, whose "
        "splits are smooth, or stop the gradient with `jax.lax.stop_gradient`."
    )
