r"""A soft tree: every inner node sends a row both ways, in shares that have derivatives.

The differentiable counterpart of `tree`, for gradients through a tree and for notebooks. A tree of
depth h has $2^h$ leaves; inner node s sends the share $\sigma(w_s^\top z + b_s)$ of a row, with z
its standardised features, to the right. The prediction is the mean of the leaves by what reaches
them. Training is `jax.grad` of the objective.
"""

import dataclasses
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxfound._show import as_table
from jaxfound._types import Array, Float, Info, Key, Shaped
from jaxfound.numerics import gradient, lbfgs, softmax
from jaxfound.numerics.reduce import finite, ones_like_rows

__all__ = ["Config", "Hyper", "Params", "decision", "fit", "objective", "predict", "shares"]


class Params(NamedTuple):
    weight: Float[Array, "s d"]  # of the inner nodes, level by level
    bias: Float[Array, " s"]
    value: Float[Array, "l k"]  # of the leaves: logits of k classes, or a mean (k = 1)
    centre: Float[Array, " d"]  # of the features
    scale: Float[Array, " d"]

    _repr_html_ = as_table


class Hyper(NamedTuple):
    l2: Float[Array, ""] | float = 1e-2  # penalises `Params.weight`: small weights split softly
    learning_rate: Float[Array, ""] | float = 0.05
    tol: Float[Array, ""] | float = 1e-3  # of the largest slope, as a share of the weight

    _repr_html_ = as_table


@dataclasses.dataclass(frozen=True)
class Config:
    depth: int = 3
    n_classes: int | None = None  # None for a regression
    max_iter: int = 500  # steps of Adam


def objective(
    params: Params,
    x: Float[Array, "n d"],
    y: Shaped[Array, " n"],
    weight: Float[Array, " n"] | None,
    hyper: Hyper = Hyper(),
    *,
    config: Config = Config(),
) -> Float[Array, ""]:
    r"""$\sum_i w_i \ell(y_i, f(x_i)) + \lambda \|W\|^2$: squared error, or that of the softmax."""
    weight = ones_like_rows(x, weight)
    found = decision(params, finite(weight, x))
    if config.n_classes is None:
        loss = weight @ (finite(weight, y) - found) ** 2
    else:
        loss = softmax.loss(found, weight, y)
    return loss + hyper.l2 * (params.weight**2).sum()


@partial(jax.jit, static_argnames="config")
def fit(
    x: Float[Array, "n d"],
    y: Shaped[Array, " n"],
    weight: Shaped[Array, " n"] | None = None,
    hyper: Hyper = Hyper(),
    key: Key | None = None,
    *,
    config: Config = Config(),
) -> tuple[Params, Info]:
    """Takes `config.max_iter` steps of Adam on `objective`, which has many minima.

    Args:
      x: one row a sample.
      y: class indices, or targets.
      weight: 0 means that the row is absent, an integer that it is repeated; None is all ones.
      hyper: traced.
      key: of the splits to start from; None is `jax.random.key(0)`.

    Returns:
      `(Params, Info)`. Derivatives are those of the steps taken.

    Example:
      >>> params, _ = fit(x, y, config=Config(n_classes=3))
      >>> slope = jax.grad(lambda row: decision(params, row[None])[0, 1])(x[0])

    Reference: M. Jordan, R. Jacobs, Hierarchical mixtures of experts and the EM algorithm, Neural
    Computation 6 (1994), eq. 2 to 4; N. Frosst, G. Hinton, Distilling a neural network into a soft
    decision tree, 2017, eq. 1.
    """
    weight = ones_like_rows(x, weight)
    hyper = jax.tree.map(lambda h: jnp.asarray(h, x.dtype), hyper)
    x_mean, x_std = _moments(weight, finite(weight, x))
    k = config.n_classes or 1
    y_mean, y_std = jnp.zeros(k, x.dtype), jnp.ones(k, x.dtype)
    if config.n_classes is None:
        y_mean, y_std = _moments(weight, finite(weight, y)[:, None])
    n_leaves = 2**config.depth

    def whole(free):
        """Params from what is descended: the leaves in units of the spread of the targets."""
        return Params(free[0], free[1], y_mean[None] + y_std[None] * free[2], x_mean, x_std)

    def loss(free, x, y, weight, hyper):
        value = objective(whole(free), x, y, weight, hyper, config=config)
        return value / (weight.sum() * y_std[0] ** 2)

    of_splits, of_leaves = jax.random.split(jax.random.key(0) if key is None else key)
    start = (
        jax.random.normal(of_splits, (n_leaves - 1, x.shape[1]), x.dtype),
        jnp.zeros(n_leaves - 1, x.dtype),
        jax.random.normal(of_leaves, (n_leaves, k), x.dtype),  # alike, they would give no slopes
    )
    data = (x, y, weight, hyper)
    free, trajectory = gradient.descend(
        loss,
        start,
        *data,
        # Without a floor inside the root, a slope of nothing has an infinite derivative.
        optimizer=optax.adam(hyper.learning_rate, eps_root=1e-8),
        n_steps=config.max_iter,
    )
    residual = lbfgs.largest(jax.grad(loss)(free, *data))
    params = whole(free)
    value = objective(params, *data, config=config)
    n_iter, solver = jnp.asarray(config.max_iter), jnp.asarray(0)
    info = Info(n_iter, residual <= hyper.tol, value, residual, solver, trajectory=trajectory)
    return params, info


def predict(params: Params, x: Float[Array, "n d"]) -> Shaped[Array, " n"]:
    """The class of the largest score, or the mean."""
    found = decision(params, x)
    return found if found.ndim == 1 else found.argmax(1).astype(jnp.int32)


def decision(params: Params, x: Float[Array, "n d"]) -> Float[Array, "n *k"]:
    """Scores of the classes `[n k]`, or means `[n]`."""
    found = jnp.matmul(shares(params, x), params.value, precision="highest")
    return found[:, 0] if found.shape[1] == 1 else found


def shares(params: Params, x: Float[Array, "n d"]) -> Float[Array, "n l"]:
    """How much of each row reaches each leaf; rows add up to 1."""
    z = (x - params.centre[None]) / params.scale[None]
    score = jnp.matmul(z, params.weight.T, precision="highest") + params.bias[None]
    reached = jnp.ones((len(x), 1), x.dtype)
    for level in range(len(params.value).bit_length() - 1):
        here = score[:, 2**level - 1 : 2 ** (level + 1) - 1]
        sides = reached * jax.nn.sigmoid(-here), reached * jax.nn.sigmoid(here)
        reached = jnp.stack(sides, 2).reshape(len(x), -1)
    return reached


def _moments(weight, rows):
    """Mean and standard deviation of columns; 1 for a constant one."""
    share = weight / weight.sum()
    mean = jnp.matmul(share, rows, precision="highest")
    var = jnp.matmul(share, (rows - mean[None]) ** 2, precision="highest")
    constant = var <= 0
    return mean, jnp.where(constant, 1, jnp.sqrt(jnp.where(constant, 1, var)))
