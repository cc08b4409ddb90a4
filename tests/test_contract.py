"""The five laws of the contract, on every row of `cases.CASES`."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES, N
from jax.sharding import Mesh, NamedSharding, PartitionSpec

PADDED = 144  # rows after padding: a hundred more, and a multiple of the eight devices


def each(condition=lambda case: True):
    """Parametrizes a test over the cases that it has something to say about."""
    chosen = [case for case in CASES if condition(case)]
    return pytest.mark.parametrize("case", chosen, ids=[case.id for case in chosen])


def named(*ids):
    """Parametrizes a test over a few cases, where more would take long and tell no more."""
    return each(lambda case: case.id in ids)


def has_objective(case):
    return hasattr(case.module, "objective")


def is_single(case):
    return not case.twin


def is_smooth(case):
    return case.smooth and not case.twin


def arguments(case, dtype, seed=0):
    return [*map(jnp.asarray, case.arrays(dtype, seed)), case.hyper_as(dtype)]


def poisoned(x, y, rows, values=(np.nan, np.inf, -np.inf)):
    """What absent rows may hold, labels of no class included."""
    x, y = np.array(x), np.array(y)
    x[rows] = np.resize(values, (rows.sum(), 1))
    y[rows] = values[0] if y.dtype.kind == "f" else -1
    return jnp.asarray(x), jnp.asarray(y)


def assert_same(case, dtype, got, want, factor=1.0):
    """The same params, and `factor` times the value of the objective."""
    rtol = case.rtol(dtype)
    flat = case.flat(want[0])
    assert np.isfinite(flat).all()
    np.testing.assert_allclose(case.flat(got[0]), flat, rtol=rtol, atol=rtol * np.abs(flat).max())
    if want[1] is not None:
        value = factor * want[1].value
        np.testing.assert_allclose(got[1].value, value, rtol=rtol, atol=rtol * N)


# --- law 1: weights ---------------------------------------------------------------------------


@each()
def test_a_weight_counts_rows(case, dtype):
    """Zero deletes a row, whatever it holds; two repeats it. Both fits have `N` rows."""
    x, y, weight, hyper = arguments(case, dtype)
    rows = np.repeat(np.arange(N), np.asarray(weight, int))
    want = case.fit(x[rows], y[rows], jnp.ones_like(weight), hyper)
    got = case.fit(*poisoned(x, y, np.asarray(weight == 0)), weight, hyper)
    assert_same(case, dtype, got, want)


@each(is_single)
def test_no_weights_are_all_ones(case):
    x, y, weight, hyper = arguments(case, "float32")
    want = case.fit(x, y, jnp.ones_like(weight), hyper)
    assert_same(case, "float32", case.fit(x, y, None, hyper), want)


@each()
def test_huge_absent_rows_do_not_overflow(case):
    x, y, weight, hyper = arguments(case, "float32")
    huge = poisoned(x, y, np.asarray(weight == 0), values=(1e30,))
    assert_same(case, "float32", case.fit(*huge, weight, hyper), case.fit(x, y, weight, hyper))


@each(lambda case: case.by_share)
def test_only_the_share_of_a_weight_matters(case, dtype):
    """Weights times 3 are the data three times: a penalty times 3 makes up for it."""
    x, y, weight, hyper = arguments(case, dtype)
    got = case.fit(x, y, 3 * weight, case.rescaled(hyper, 3))
    assert_same(case, dtype, got, case.fit(x, y, weight, hyper), factor=3)


@each(is_single)
def test_padded_rows_may_lie_on_eight_devices(case):
    """Padding makes the rows a multiple of the devices, and changes nothing."""
    x, y, weight, hyper = arguments(case, "float32")
    padded = [jnp.concatenate([a, jnp.zeros((PADDED - N, *a.shape[1:]), a.dtype)]) for a in (x, y)]
    padded = [*poisoned(*padded, np.arange(PADDED) >= N), jnp.pad(weight, (0, PADDED - N))]
    rows = NamedSharding(Mesh(np.array(jax.devices()), "rows"), PartitionSpec("rows"))
    sharded = jax.device_put(padded, rows)
    assert len(sharded[0].sharding.device_set) == 8
    assert_same(case, "float32", case.fit(*sharded, hyper), case.fit(x, y, weight, hyper))


# --- law 2: transforms ------------------------------------------------------------------------


@each(is_single)
def test_vmap_is_a_loop(case):
    """Over hypers, and inside over weights and keys."""
    x, y, weight, hyper = arguments(case, "float32")
    weights = jnp.stack([weight, jnp.roll(weight, 7)])
    hypers = [hyper, case.hyper_as("float32", factor=1.5)]
    keys = jax.random.split(jax.random.key(0), 2)

    def over_weights(hyper):
        return jax.vmap(lambda weight, key: case.fit(x, y, weight, hyper, key))(weights, keys)

    got = jax.vmap(over_weights, axis_size=2)(jax.tree.map(lambda *h: jnp.stack(h), *hypers))
    for i, hyper in enumerate(hypers):
        for j, weight in enumerate(weights):
            lane = jax.tree.map(lambda leaf, i=i, j=j: leaf[i, j], got)
            assert_same(case, "float32", lane, case.fit(x, y, weight, hyper, keys[j]))


# Loops run in Python here, which takes a second even for a handful of iterations.
@named("ridge-cholesky", "ridge-cg", "ridge-positive", "binary-newton", "scaling")
def test_without_jit(case):
    args = arguments(case, "float32")
    with jax.disable_jit():
        got = case.fit(*args)
    assert_same(case, "float32", got, case.fit(*args))


# --- law 3: gradients -------------------------------------------------------------------------


def probe(case, *args):
    """A generic function of the predictions for new rows."""
    params, _ = case.fit(*args)
    rng = np.random.default_rng(1)
    scores = case.predict(params, jnp.asarray(rng.normal(size=(5, args[0].shape[1]))))
    return (scores * jnp.asarray(rng.normal(size=scores.shape))).sum()


@functools.cache
def slope(case):
    """The gradient of `probe`, in the arguments that have one."""
    wanted = (0, 2, 3) if case.classification else (0, 1, 2, 3)
    grad = jax.jit(jax.grad(functools.partial(probe, case), wanted))
    return lambda *args: dict(zip(wanted, grad(*args), strict=True))


def central(function, at, direction, step=1e-4):
    ahead, behind = (function(at + sign * step * direction) for sign in (1, -1))
    return (ahead - behind) / (2 * step)


def one_sided(function, at, direction, step=1e-4):
    """Of third order, for weights at zero."""
    values = [function(at + i * step * direction) for i in range(4)]
    return np.dot([-11, 18, -9, 2], values) / (6 * step)


def directions(case, x, y, weight, hyper):
    """`(argument, field, direction, quotient)` for everything that moves a fit."""
    normal = np.random.default_rng(2).normal
    yield 0, None, normal(size=x.shape), central
    if not case.classification:
        yield 1, None, normal(size=y.shape), central
    yield 2, None, np.where(weight > 0, normal(size=N), 0), central
    yield 2, None, np.where(weight > 0, 0, np.abs(normal(size=N))), one_sided
    for field in case.slopes:
        yield 3, field, normal(size=getattr(hyper, field).shape), central


@each(is_smooth)
def test_derivatives_are_finite_differences(case, x64):
    """Also in weights that are zero: what would the row add?"""
    args = arguments(case, "float64")
    slopes = slope(case)(*args)
    rtol = max(1e-5, 100 * case.rtol("float64"))
    for i, field, direction, quotient in directions(case, *args):
        direction = jnp.asarray(direction / np.linalg.norm(direction))
        at, got = (a[i] if field is None else getattr(a[i], field) for a in (args, slopes))

        def along(value, i=i, field=field):
            moved = value if field is None else args[i]._replace(**{field: value})
            return float(probe(case, *args[:i], moved, *args[i + 1 :]))

        want = quotient(along, at, direction)
        atol = rtol * np.linalg.norm(got)
        np.testing.assert_allclose(np.vdot(got, direction), want, rtol, atol, err_msg=f"{i}")


@each(is_smooth)
def test_absent_rows_leak_into_no_derivative(case, x64):
    x, y, weight, hyper = arguments(case, "float64")
    absent = np.asarray(weight == 0)
    want = slope(case)(x, y, weight, hyper)
    got = slope(case)(*poisoned(x, y, absent), weight, hyper)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(got))
    for slopes in (got, want):
        assert all((np.asarray(slopes[i])[absent] == 0).all() for i in slopes if i < 2)
        slopes[2] = slopes[2][~absent]  # what such a row would add when it comes in is its own
    rtol = case.rtol("float64")
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol, atol=rtol), got, want)


@each(lambda case: case.minimum and has_objective(case))
def test_the_objective_is_flat_at_its_minimum(case, x64):
    x, y, weight, hyper = arguments(case, "float64")
    params, info = case.fit(x, y, weight, hyper)
    assert info.converged
    objective = functools.partial(case.module.objective, config=case.config)
    value, grad = jax.value_and_grad(objective)(params, x, y, weight, hyper)
    np.testing.assert_allclose(value, info.value, rtol=1e-8, atol=1e-8)
    for p, g in zip(params, grad, strict=True):  # a param at zero is held, or on a kink or bound
        np.testing.assert_allclose(np.where(p == 0, 0, g), 0, atol=1e3 * case.rtol("float64"))


@named("ridge-auto", "binary-newton")
def test_forward_and_reverse_mode_agree(case, x64):
    args = arguments(case, "float64")
    i, field = 3, case.slopes[0]
    forward = jax.jacfwd(lambda hyper: probe(case, *args[:i], hyper))(args[i])
    np.testing.assert_allclose(
        getattr(forward, field), getattr(slope(case)(*args)[i], field), rtol=1e-8
    )


# --- law 4: dtypes ----------------------------------------------------------------------------


@each()
@pytest.mark.parametrize("given", ["float32", "float64"])
def test_the_dtype_of_the_data_is_that_of_the_fit(case, given, x64):
    args = arguments(case, given)
    fitted = jax.eval_shape(case.fit, *args)
    scores = jax.eval_shape(case.predict, fitted[0], args[0])
    for leaf in jax.tree.leaves((fitted, scores)):
        assert leaf.dtype == given or not jnp.issubdtype(leaf.dtype, jnp.floating)
    whole = case.hard or all(leaf.dtype == given for leaf in jax.tree.leaves(fitted[0]))
    assert whole


# --- law 5: shapes ----------------------------------------------------------------------------


@each()
def test_new_data_hyper_and_an_equal_config_trace_once(case):
    jitted = getattr(case.module, "jitted", case.module.fit)
    case.fit(*arguments(case, "float32"))
    traced = jitted._cache_size()
    config = case.config and dataclasses.replace(case.config)
    x, y, weight, _ = arguments(case, "float32", seed=1)
    case.fit(x, y, weight, case.hyper_as("float32", factor=1.5), config=config)
    assert jitted._cache_size() == traced


# --- inside a user's jit: no check can raise, and nothing hangs -------------------------------


def spoil_x(x, y, weight, row, value):
    return poisoned(x, y, row, (value,))[0], y, weight


def spoil_y(x, y, weight, row):
    return x, poisoned(x, y, row)[1], weight


def no_weight(x, y, weight, row):
    return x, y, jnp.zeros_like(weight)


SPOILT = {
    "nan in x": functools.partial(spoil_x, value=np.nan),
    "infinity in x": functools.partial(spoil_x, value=np.inf),
    "nan in y": spoil_y,
    "no weight": no_weight,
}


@each(has_objective)
@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_bad_input_does_not_converge(case, spoil):
    if spoil is spoil_y and (case.classification or not case.supervised):
        return  # an integer is never NaN
    x, y, weight, hyper = arguments(case, "float32")
    row = np.arange(N) == int(np.argmax(weight > 0))
    _, info = case.fit(*spoil(x, y, weight, row), hyper)
    assert not info.converged


def separable(x, k):
    return np.digitize(x[:, 0], np.quantile(x[:, 0], np.arange(1, k) / k))


def one_class(x, k):
    return np.zeros(len(x))


@named("binary-newton", "binary-lbfgs", "multinomial-newton", "multinomial-lbfgs")
@pytest.mark.parametrize("labels", [separable, one_class])
def test_what_has_no_minimum_does_not_converge(case, labels):
    x, _, weight, hyper = arguments(case, "float32")
    y = jnp.asarray(labels(x, case.config.n_classes).astype(np.int32))
    hyper = hyper._replace(C=jnp.full_like(hyper.C, np.inf), tol=jnp.full_like(hyper.tol, 1e-4))
    params, info = case.fit(x, y, weight, hyper)
    assert not info.converged
    assert np.isfinite(case.flat(params)).all()


# --- many rows: the blocked pass against whole-array NumPy in float64 --------------------------

MANY = 9001  # three blocks, the last one moved back


def misfit(case, params, x, y, weight, hyper):
    """The gradient of the objective about the mean, per unit of weight, by hand."""
    x, y, weight, coef, intercept = (
        np.asarray(a, float) for a in (x, y, weight, params.coef, params.intercept)
    )
    scores = x @ coef + intercept
    x = x - np.average(x, axis=0, weights=weight)
    if not case.classification:
        residual, pull = 2 * (scores - y), 2 * getattr(hyper, "l2", 0) * coef
    elif scores.ndim == 1:
        residual, pull = 1 / (1 + np.exp(-scores)) - y, coef / hyper.C
    else:
        share = np.exp(scores - scores.max(1, keepdims=True))
        classes = np.arange(scores.shape[1])
        residual = share / share.sum(1, keepdims=True) - (y[:, None] == classes)
        pull = coef / hyper.C
    pulled = (weight * residual.T).T
    return np.append(x.T @ pulled + pull, pulled.sum(0)) / weight.sum()


@named("linear-auto", "ridge-svd", "ridge-cg", "binary-newton", "multinomial-lbfgs")
def test_many_rows_are_as_good_as_few(case):
    rng = np.random.default_rng(3)
    x, y = case.data(rng, n=MANY)
    x = (x + 100).astype(np.float32)  # far from zero, where float32 loses digits
    y = y.astype(np.int32 if case.classification else np.float32)
    weight = rng.permutation(np.resize([0, 1, 2], MANY)).astype(np.float32)
    hyper = case.hyper_as("float32")
    params, info = case.fit(*poisoned(x, y, weight == 0), weight, hyper)
    assert info.converged
    np.testing.assert_allclose(misfit(case, params, x, y, weight, hyper), 0, atol=1e-4)


def test_many_rows_are_standardised_as_well_as_few():
    case = next(case for case in CASES if case.id == "scaling")
    rng = np.random.default_rng(3)
    x = (case.data(rng, n=MANY)[0] + 1e4).astype(np.float32)
    weight = rng.permutation(np.resize([0, 1, 2], MANY)).astype(np.float32)
    params, _ = case.fit(poisoned(x, x[:, 0], weight == 0)[0], None, weight)
    rows = np.repeat(x, weight.astype(int), axis=0).astype(float)
    np.testing.assert_allclose(params.mean + params.rest, rows.mean(0), rtol=1e-7)
    np.testing.assert_allclose(params.var, rows.var(0), rtol=1e-5)
