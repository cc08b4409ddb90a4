"""The fits out of core: the steps of those in memory, a pass over the source for each sum."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxfound._checks import check_choice
from jaxfound._types import Array, Float, Int
from jaxfound.data.sources import Rows
from jaxfound.models import linear, logistic, pca, ridge, scaling
from jaxfound.numerics import least_squares, moments, principal, softmax
from jaxfound.numerics.mesh import shards
from jaxfound.numerics.reduce import ones_like_rows
from jaxfound.streaming.resident import Resident
from jaxfound.streaming.stream import Stream, computed

__all__ = ["FITS", "fit"]

_MOST_UNKNOWNS = 4096  # whose Hessian is formed


def fit(model: Callable[..., Any], rows: Rows, hyper: Any = None, **options: Any) -> Any:
    """Fits to a source what `model(x, y, weight, hyper, **options)` fits to arrays.

    Args:
      model: `fit` of `linear`, `ridge`, `logistic` (y is class indices), `pca` or `scaling`.
      rows: from `data.open_rows`.
      hyper: of the model, or None for its default.
      **options: `config` of the model; `dtype` of `scaling.fit`.

    Returns:
      What `model` returns, equal to it to rounding.

    Raises:
      ValueError: for a setting or a model that cannot be fitted batch by batch, no targets where
        there should be some, or rows that are not as they should be; see `data.open_rows`.
      KeyboardInterrupt: after Ctrl-C, with a note that says how far it got.
    """
    if jax.process_count() > 1:
        raise ValueError(
            f"A source is read by one process, and there are {jax.process_count()}: give each its "
            "rows with jaxfound.parallel.shard_rows."
        )
    if model not in FITS:
        name = getattr(model, "__name__", str(model))
        raise ValueError(
            f"model is {name} of {getattr(model, '__module__', '?')}, expected fit of linear, "
            "ridge, logistic, pca or scaling: others see all rows at once."
        )
    return FITS[model](rows, *([] if hyper is None else [hyper]), **options)


def _on_host(unfinished, step, state):
    while unfinished(state):
        state = step(state)
    return state


# --- least squares ----------------------------------------------------------------------------


def _ridge(rows, hyper=ridge.Hyper(), *, config=ridge.Config()):
    check_choice("config.solver of a fit to a source", config.solver, ("auto", "cholesky", "svd"))
    stream = _with_targets(rows)
    outputs = rows.y.shape[1:]
    hyper = jax.tree.map(lambda h: jnp.asarray(h, stream.dtype), hyper)
    shifts = stream.means()
    if not config.fit_intercept:
        shifts = jax.tree.map(jnp.zeros_like, shifts)
    sums = stream.total(Partial(_moment_sums, *shifts))
    known = _centred(*shifts, sums, centre=config.fit_intercept)
    if config.positive:
        return _from_moments(known, hyper, outputs, config=config)
    return _from_solution(_solution(stream, known, hyper.l2, config), hyper, outputs)


def _linear(rows, hyper=linear.Hyper(), *, config=linear.Config()):
    return _ridge(rows, ridge.Hyper(0.0, hyper.tol, hyper.learning_rate), config=config)


def _with_targets(rows, dtype=None):
    if rows.y is None:
        raise ValueError("The source has no targets, expected y: open it with open_rows(..., y=y).")
    return _stream(rows, y_dtype=dtype or computed(rows.dtype))


def _stream(rows, **options):
    here = rows.in_memory and shards() == 1 and jax.default_backend() == "cpu"
    return (Resident if here else Stream)(rows, **options)


def _solution(stream, known, l2, config):
    """As `least_squares.solve`, a pass over the source wherever that reads the rows again."""
    l2 = jnp.broadcast_to(l2, (stream.d,))
    cholesky, plain, ill, lost = _by_cholesky(known, l2)
    small = stream.n * known.cross.size <= least_squares.SMALL
    if config.solver != "svd" and not (ill or small):
        return plain
    if config.solver == "svd" or (config.solver == "auto" and lost):
        step = partial(_triangle, known.x_mean)
        factor = _orthogonal_factor(stream.fold(step, jnp.diag(jnp.sqrt(l2))))
    else:
        factor = _seminormal(cholesky)

    def gradient(coef, offset):
        sums = Partial(_extended_sums, known.x_mean, known.y_mean, coef, offset)
        return stream.total(sums)

    return least_squares.refine(
        *(known, l2, factor, gradient), fit_intercept=config.fit_intercept, loop=_on_host
    )


def _moment_sums(x_shift, y_shift, w, x, y):
    return moments.moment_sums(x_shift, y_shift, w, x, y.reshape(len(y), -1))


def _extended_sums(x_mean, y_mean, coef, offset, w, x, y):
    return least_squares.extended_sums(x_mean, y_mean, coef, offset, w, x, y.reshape(len(y), -1))


@jax.jit
def _by_cholesky(known, ridge):
    cholesky = least_squares.factorise(known, ridge)
    plain = least_squares.direct(known, cholesky)
    return cholesky, plain, *least_squares.ill_conditioned(cholesky)


@jax.jit
def _triangle(mean, above, weight, x, *_):
    return least_squares.triangle(x, weight, mean, above)


_centred = jax.jit(moments.centred, static_argnames="centre")
_seminormal = jax.jit(least_squares.seminormal)
_orthogonal_factor = jax.jit(least_squares.orthogonal_factor)
_from_solution = jax.jit(ridge.from_solution, static_argnames="outputs")
_from_moments = jax.jit(ridge.from_moments, static_argnames=("outputs", "config"))


# --- the others -------------------------------------------------------------------------------


def _logistic(rows, hyper=logistic.Hyper(), *, start=None, config=logistic.Config()):
    check_choice("config.solver of a fit to a source", config.solver, ("auto", "newton"))
    if hyper.l1_ratio != 0:
        raise ValueError(
            f"l1_ratio is {hyper.l1_ratio}, expected 0 for a source: fit an L1 norm in memory."
        )
    columns = 1 if config.n_classes == 2 else config.n_classes
    unknowns = (rows.shape[1] + config.fit_intercept) * columns
    if unknowns > _MOST_UNKNOWNS:
        raise ValueError(
            f"There are {unknowns} coefficients, expected at most {_MOST_UNKNOWNS} for a source: "
            "take fewer features (PCA), or fit in memory."
        )
    stream = _with_targets(rows, np.dtype(np.int32))
    if rows.y.dtype.kind not in "iub":
        raise ValueError(f"y has dtype {rows.y.dtype}, expected class indices: integers from 0.")
    hyper = jax.tree.map(lambda h: jnp.asarray(h, stream.dtype), hyper)
    classes = _counted(stream, config.n_classes)
    (shift,) = stream.means()
    shift = shift if config.fit_intercept else jnp.zeros_like(shift)
    problem = logistic.problem_of(classes.amounts.sum(), shift, hyper, config=config)
    theta = jnp.zeros((len(problem.l2), columns), stream.dtype)
    if start is not None:
        theta = logistic.theta_of(start, problem, config=config)
    found = softmax.by_newton(
        problem,
        lambda theta: stream.total(Partial(softmax.second_order, problem, theta)),
        *(theta, hyper.tol),
        max_iter=config.max_iter,
        loop=_on_host,
    )
    loss = found.value * problem.total
    sound = logistic.has_minimum(loss, classes.amounts, classes.least, hyper, config=config)
    return logistic.described(found, problem, sound, "newton", config=config)


class _Classes(NamedTuple):
    amounts: Float[Array, " k"]  # the weight of every class
    least: Float[Array, ""]  # weight of a row that is present
    lowest: Int[Array, ""]
    highest: Int[Array, ""]


def _counted(stream, k):
    """What must be known of the classes. The pass needs no x, but marks it for those that do."""
    far = jnp.asarray(jnp.inf, stream.dtype)
    start = _Classes(jnp.zeros(k, stream.dtype), far, jnp.int32(0), jnp.int32(0))
    found = stream.fold(_count, start)
    if found.lowest < 0 or found.highest >= k:
        raise ValueError(
            f"y has class indices from {found.lowest} to {found.highest}, expected 0 to "
            f"n_classes - 1 = {k - 1}: number the classes from 0."
        )
    return found


@jax.jit
def _count(seen, weight, x, y):
    weight = ones_like_rows(x, weight)
    return _Classes(
        seen.amounts.at[y].add(weight),
        jnp.minimum(seen.least, jnp.where(weight > 0, weight, jnp.inf).min()),
        jnp.minimum(seen.lowest, y.min()),
        jnp.maximum(seen.highest, y.max()),
    )


def _pca(rows, hyper=pca.Hyper(), key=None, *, config=pca.Config()):
    del hyper
    solvers = ("auto", "covariance_eigh", "full")
    check_choice("config.solver of a fit to a source", config.solver, solvers)
    stream = _stream(rows)
    (shift,) = stream.means()
    scatter = _scatter(shift, stream.total(Partial(moments.scatter_sums, shift)))
    most = min(stream.n, stream.d)
    k = most if config.n_components is None else config.n_components
    if not 0 <= k <= most:
        raise ValueError(
            f"n_components is {k}, expected 0 to min(n, d) = {most} for {stream.n} rows of "
            f"{stream.d} columns: ask for fewer, or None for all."
        )
    found, full = None, config.solver == "full" or stream.n < stream.d
    if not full:
        key = jax.random.key(0) if key is None else key
        found, lost = _by_scatter(*scatter, key, k=k, guards=config.n_oversamples)
        full = config.solver == "auto" and bool(lost)
    if full:
        above = jnp.zeros((stream.d, stream.d), stream.dtype)
        triangle = stream.fold(partial(_triangle, scatter[0]), above)
        found = _by_triangle(*scatter[:2], triangle, k=k)
    return _described(found, "full" if full else "covariance_eigh", config.whiten)


_scatter = jax.jit(moments.centred_scatter)
_described = jax.jit(pca.described, static_argnames=("name", "whiten"))


@partial(jax.jit, static_argnames=("k", "guards"))
def _by_scatter(mean, amount, gram, key, *, k, guards):
    found = principal.by_scatter(mean, amount, gram, k, key, guards=guards)
    return found, principal.half_lost(found)


@partial(jax.jit, static_argnames="k")
def _by_triangle(mean, amount, triangle, *, k):
    _, singular, vectors = jnp.linalg.svd(triangle)
    return principal.by_singular(mean, amount, vectors, singular, k)


def _scaling(rows, *, dtype=None):
    stream = _stream(rows, allow_nan=True)
    (shift,) = stream.means()
    shift = shift.astype(dtype or shift.dtype)
    return _with_variance(shift, stream.total(Partial(scaling.sums, shift)))


_with_variance = jax.jit(scaling.described)


FITS = {
    linear.fit: _linear,
    ridge.fit: _ridge,
    logistic.fit: _logistic,
    pca.fit: _pca,
    scaling.fit: _scaling,
}
