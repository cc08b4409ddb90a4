r"""Principal component analysis: the directions that keep most of the variance.

$$\min_{V V^\top = 1} \sum_i w_i \|x_i - \bar x - V^\top V (x_i - \bar x)\|^2$$

The rows of $V$ are the leading eigenvectors of the scatter of the rows about their mean; the
variance along one is its eigenvalue over $\sum_i w_i - 1$.
"""

import dataclasses
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from jaxfound._show import as_table
from jaxfound._types import Array, Float, Info, Int, Key, Shaped
from jaxfound.numerics import eigen, principal
from jaxfound.numerics.reduce import finite, ones_like_rows, present

__all__ = [
    "SOLVERS",
    "Config",
    "Hyper",
    "Params",
    "Solver",
    "described",
    "fit",
    "from_axes",
    "inverse_transform",
    "jitted",
    "objective",
    "ratio",
    "singular_values",
    "transform",
    "truncate",
]

SOLVERS = ("covariance_eigh", "full", "randomized", "gradient")  # `Info.solver` points into it
Solver = Literal["auto", "covariance_eigh", "full", "randomized", "gradient"]

_dot = partial(jnp.matmul, precision="highest")


class Params(NamedTuple):
    mean: Float[Array, " d"]
    components: Float[Array, "k d"]  # orthonormal; the entry that is largest in size is positive
    variance: Float[Array, " k"]  # descending, divided by the sum of weights less one
    scale: Float[Array, " k"]  # what scores are divided by: ones unless whitened
    noise: Float[Array, ""]  # mean variance of the directions left out
    total: Float[Array, ""]  # variance of all directions together
    weight: Float[Array, ""]  # the sum of the weights

    _repr_html_ = as_table


class Hyper(NamedTuple):
    tol: Float[Array, ""] | float = 1e-6  # of `randomized` and `gradient`, see `fit`
    learning_rate: Float[Array, ""] | float = 1.0  # of `gradient`, over the total variance

    _repr_html_ = as_table


@dataclasses.dataclass(frozen=True)
class Config:
    n_components: int | None = None  # None is as many as there are, min(n, d)
    solver: Solver = "auto"
    whiten: bool = False
    n_oversamples: int = 10  # of `randomized`: guard vectors
    n_powers: int | None = None  # of `randomized`: exactly so many, or until converged
    max_iter: int = 5000  # of `gradient`, and of `randomized` until converged


def objective(
    params: Params,
    x: Float[Array, "n d"],
    weight: Float[Array, " n"] | None,
    hyper: Hyper = Hyper(),
    *,
    config: Config = Config(),
) -> Float[Array, ""]:
    r"""The reconstruction error $\sum_i w_i \|x_i - \bar x - V^\top V (x_i - \bar x)\|^2$."""
    del hyper, config
    weight = ones_like_rows(x, weight)
    left = finite(weight, x) - params.mean[None]
    left -= _dot(_dot(left, params.components.T), params.components)
    return _dot(weight, left**2).sum()


def fit(
    x: Float[Array, "n d"],
    weight: Shaped[Array, " n"] | None = None,
    hyper: Hyper = Hyper(),
    key: Key | None = None,
    *,
    config: Config = Config(),
) -> tuple[Params, Info]:
    """Minimises `objective`, and turns the axes to the principal ones.

    `covariance_eigh` forms the scatter in one pass and takes its eigenvectors: fastest, with an
    error of each variance that is relative to the largest one. `full` factors the rows
    orthogonally and is right for the small variances too. `auto` starts with the scatter where
    there are enough rows, and turns to `full` where half of the digits of a variance would be
    lost. `randomized` multiplies a random block by the scatter, without forming it when there are
    many columns, until no residual exceeds `hyper.tol` (relative to the largest variance).
    `gradient` descends on `objective` by `jax.grad`, each step followed by a QR factorisation
    that makes the components orthonormal again.

    Args:
      x: one row a sample.
      weight: 0 means that the row is absent, an integer that it is repeated; None is all ones.
      hyper: traced.
      key: where `randomized` and `gradient` start; a fixed one if None.

    Returns:
      `(Params, Info)`. `Info.value` is the reconstruction error. A sum of weights of at most 1
      has no variance: NaN, and not converged.

    Raises:
      ValueError: for more components than min(n, d), and for the derivative of components whose
        variances are tied to rounding: those may turn freely. Inside `jit` or `vmap`, where
        nothing can be raised, their derivative is NaN.
      NotImplementedError: for second derivatives.

    Example:
      >>> params, info = fit(x, config=Config(n_components=2))
      >>> scores = transform(params, x)

    References:
      C. Bishop, Pattern Recognition and Machine Learning, section 12.1.2, eq. 12.17.
      N. Halko, P.-G. Martinsson, J. Tropp, SIAM Review 53 (2011), algorithms 4.4 and 5.1.
      A. Edelman, T. Arias, S. Smith, The geometry of algorithms with orthogonality constraints,
      SIAM J. Matrix Anal. Appl. 20 (1998), section 2.4 (`gradient`).
    """
    most = min(x.shape)
    if config.n_components is not None and not 0 <= config.n_components <= most:
        raise ValueError(
            f"n_components is {config.n_components}, expected 0 to min(n, d) = {most} for x of "
            f"shape {x.shape}: ask for fewer, or None for all."
        )
    return _fit(config, x, weight, hyper, key)


def transform(params: Params, x: Float[Array, "n d"]) -> Float[Array, "n k"]:
    """Scores: coordinates about the mean along the components, over `params.scale`."""
    return _dot(x - params.mean[None], (params.components / params.scale[:, None]).T)


def inverse_transform(params: Params, scores: Float[Array, "n k"]) -> Float[Array, "n d"]:
    """The points with these scores."""
    return _dot(scores, params.components * params.scale[:, None]) + params.mean[None]


def ratio(params: Params) -> Float[Array, " k"]:
    """The share of each component in the total variance; zero where there is none."""
    return jnp.where(params.total > 0, params.variance / params.total, 0)


def singular_values(params: Params) -> Float[Array, " k"]:
    """Of the weighted centred rows."""
    return jnp.sqrt(params.variance * (params.weight - 1))


def truncate(params: Params, k: int) -> Params:
    """The first `k` components; what they leave becomes noise."""
    known, d = params.components.shape
    others = jnp.maximum(jnp.minimum(params.weight, d) - known, 0)
    left = params.noise * others + params.variance[k:].sum()
    noise = _noise(left, params.weight, k=k, d=d)
    first = {name: getattr(params, name)[:k] for name in ("components", "variance", "scale")}
    return params._replace(noise=noise, **first)


# --- solvers ----------------------------------------------------------------------------------


@partial(jax.jit, static_argnames="config")
def jitted(x, weight, hyper, key, *, config):
    """`fit` without its checks and derivatives."""
    weight = weight if weight is None else jnp.asarray(weight, x.dtype)
    hyper = jax.tree.map(lambda h: jnp.asarray(h, x.dtype), hyper)
    key = jax.random.key(0) if key is None else key
    k = min(x.shape) if config.n_components is None else config.n_components
    name = _solver(x.shape, k, config)
    found = _SOLVERS[name](x, weight, k, key, hyper, config)
    return described(found, "covariance_eigh" if name == "auto" else name, config.whiten)


def described(found: principal.Axes, name: str, whiten: bool) -> tuple[Params, Info]:
    """What `fit` returns for these axes, which the solver `name` found."""
    params = from_axes(found, whiten)
    sound = jnp.isfinite(params.variance).all() & jnp.isfinite(params.total)  # NaN of no freedom
    return params, Info(
        n_iter=found.n_iter,
        converged=found.converged & sound,
        value=found.rest,
        residual=found.residual,
        solver=jnp.where(found.orthogonal, SOLVERS.index("full"), SOLVERS.index(name)),
    )


def _solver(shape, k, config):
    # Of wide data, few components are found fastest without a scatter.
    few = k * 8 <= min(shape) and max(shape) >= 256
    wide = shape[0] < shape[1] or shape[1] > 4096
    return "randomized" if config.solver == "auto" and few and wide else config.solver


def _direct(find, x, weight, k, key, hyper, config):
    del hyper
    return find(x, weight, k, key, guards=config.n_oversamples)


def _by_triangle(x, weight, k, key, hyper, config):
    del key, hyper, config
    return principal.by_triangle(x, weight, k)


def _by_random_block(x, weight, k, key, hyper, config):
    return principal.by_random_block(
        *(x, weight, k, key),
        guards=config.n_oversamples,
        n_powers=config.n_powers,
        tol=hyper.tol,
        max_iter=config.max_iter,
    )


class _Descent(NamedTuple):
    components: Float[Array, "k d"]
    slope: Float[Array, "k d"]
    residual: Float[Array, ""]  # the norm of the slope
    n_iter: Int[Array, ""]


def _by_gradient(x, weight, k, key, hyper, config):
    # On orthonormal components the gradient is -2 V S (1 - V'V): it leaves them along the
    # manifold, and QR brings them back.
    mean, amount = principal.mean_and_weight(x, weight)
    weight = ones_like_rows(x, weight)
    rows = present(weight, x) - present(weight, jnp.broadcast_to(mean, x.shape))
    spread = jnp.where((trace := _dot(weight, rows**2).sum()) > 0, trace, 1)

    def loss(components):
        left = rows - _dot(_dot(rows, components.T), components)
        return _dot(weight, left**2).sum() / (2 * spread)

    def at(components, n_iter):
        slope = jax.grad(loss)(components := jnp.linalg.qr(components.T)[0].T)
        return _Descent(components, slope, jnp.sqrt((slope**2).sum()), n_iter)

    def step(state):
        return at(state.components - hyper.learning_rate * state.slope, state.n_iter + 1)

    def unfinished(state):
        return (state.residual > hyper.tol) & (state.n_iter < config.max_iter)

    random = jax.random.normal(key, (k, x.shape[1]), x.dtype)
    found = jax.lax.while_loop(unfinished, step, at(random, jnp.asarray(0)))
    # The subspace is found; its principal axes are those of the scores.
    scores = _dot(rows, found.components.T)
    squares, turn = principal.descending(_dot(scores.T, scores * weight[:, None]))
    rest = jnp.maximum(trace - squares.sum(), 0)
    noise = 8 * jnp.finfo(x.dtype).eps * squares.max(initial=0)
    pairs = mean, amount, _dot(turn, found.components), squares, rest, noise
    converged = found.residual <= hyper.tol
    return principal.Axes(*pairs, jnp.asarray(False), found.n_iter, found.residual, converged)


_SOLVERS = {
    "auto": partial(_direct, principal.by_shape),
    "covariance_eigh": partial(_direct, principal.by_covariance),
    "full": _by_triangle,
    "randomized": _by_random_block,
    "gradient": _by_gradient,
}


def from_axes(found: principal.Axes, whiten: bool) -> Params:
    """The components that these axes are, with their signs and scales."""
    (k, d), vectors = found.vectors.shape, found.vectors
    freedom = jnp.where(found.weight > 1, found.weight - 1, jnp.nan)
    largest = vectors[jnp.arange(k), jnp.abs(vectors).argmax(1)]
    components = jnp.where(largest[:, None] < 0, -vectors, vectors)
    variance = found.squares / freedom
    rest = found.rest / freedom
    # Dividing by a variance that is rounding would blow noise up to a signal.
    real = found.squares > found.floor
    scale = jnp.where(real & whiten, jnp.sqrt(jnp.where(real, variance, 1)), 1)
    noise = _noise(rest, found.weight, k=k, d=d)
    return Params(
        found.mean, components, variance, scale, noise, variance.sum() + rest, found.weight
    )


def _noise(rest, weight, *, k, d):
    others = jnp.minimum(weight, d) - k
    return jnp.where(others > 0, rest / jnp.where(others > 0, others, 1), 0)


# --- derivatives ------------------------------------------------------------------------------


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _fit(config, x, weight, hyper, key):
    return jitted(x, weight, hyper, key, config=config)


@_fit.defjvp
def _(config, primals, tangents):
    x, weight, hyper, key = primals
    params, info = _fit(config, x, weight, hyper, key)
    axes, singular, ties = _spectrum(*_once((x, weight, params)))
    if not isinstance(ties, Tracer) and ties.any():
        _refuse(params, ties)
    moved = tuple(map(partial(_tangent_like, x), primals[:2], tangents[:2]))
    slopes = _tangents(params, axes, singular, (x, weight), moved, config=config)
    nothing = jax.tree.map(jax.custom_derivatives.zero_from_primal, info)
    return (params, info), (slopes, nothing)


@jax.custom_jvp
def _once(tree):
    """The identity, for what enters a first derivative and has none of its own."""
    return tree


@_once.defjvp
def _(primals, tangents):
    del primals, tangents
    raise NotImplementedError(
        "A second derivative of pca.fit was asked for, expected a first one: "
        "differentiate once, or take finite differences of the gradient."
    )


@jax.jit
def _spectrum(x, weight, params):
    weight = None if weight is None else jnp.asarray(weight, x.dtype)
    axes, singular = principal.orthogonal_axes(x, weight, params.mean)
    k = len(params.variance)
    # The same axes as the components, and with their signs.
    signs = jnp.sign((axes[:k] * params.components).sum(1, keepdims=True))
    axes = jnp.concatenate([axes[:k] * signs, axes[k:]])
    return axes, singular, eigen.tied(singular, k, complete=len(axes) == x.shape[1])


def _refuse(params, ties):
    i = int(ties.argmax())
    raise ValueError(
        f"The derivative of component {i} was asked for, but its variance "
        f"{float(params.variance[i]):.6g} equals another one to rounding: the component may turn "
        "freely, and has no derivative. Expected separated variances: ask for fewer components, "
        "or break the tie in the data."
    )


def _tangent_like(x, primal, tangent):
    # Weights may be integers or left out, and do not move then.
    if primal is None or not jnp.issubdtype(jnp.result_type(primal), jnp.floating):
        return jnp.zeros(x.shape[0], x.dtype)
    return jnp.asarray(tangent, x.dtype)


@partial(jax.jit, static_argnames="config")
def _tangents(params, axes, singular, data, moved, *, config):
    rows = data[0], ones_like_rows(*data)
    known, slope = jax.jvp(partial(_sums, params), rows, moved)
    squares, components = eigen.pair_tangents(slope.pushed, params.components, axes, singular)
    freedom = known.weight - 1
    variance = (squares - params.variance * slope.weight) / freedom
    total = (slope.trace - params.total * slope.weight) / freedom
    left, dleft = params.total - params.variance.sum(), total - variance.sum()
    noise = partial(_noise, k=len(variance), d=params.mean.size)
    noise = jax.jvp(noise, (left, known.weight), (dleft, slope.weight))[1]
    whitened = params.scale == jnp.sqrt(params.variance)
    scale = jnp.where(whitened & config.whiten, variance / (2 * params.scale), 0)
    return Params(slope.mean, components, variance, scale, noise, total, slope.weight)


class _Sums(NamedTuple):
    mean: Float[Array, " d"]
    pushed: Float[Array, "k d"]  # the scatter times each component
    trace: Float[Array, ""]
    weight: Float[Array, ""]


def _sums(params, x, weight):
    # About a constant close to the mean; the components stay as they are.
    rows = finite(weight, x) - params.mean[None]
    amount = weight.sum()
    offset = _dot(weight, rows) / amount
    rows -= offset[None]
    weighted = rows * weight[:, None]
    pushed = _dot(_dot(rows, params.components.T).T, weighted)
    return _Sums(params.mean + offset, pushed, (weighted * rows).sum(), amount)
