"""The numerical building blocks against exact arithmetic, scikit-learn, SciPy and NumPy."""

from fractions import Fraction
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfound.models import linear, scaling
from jaxfound.numerics import branch, compensated, coordinate, dual
from jaxfound.numerics.branch import cond_per_lane, one_kernel
from jaxfound.numerics.reduce import (
    ONE_BLOCK,
    _on_device,
    finite,
    mean_of_sample,
    ones_like_rows,
    present,
    row_fold,
    row_sum,
    times,
)
from jaxfound.numerics.whitening import whitening

# --- compensated ------------------------------------------------------------------------------


def wide_ranging(rng, shape, dtype):
    """Numbers of both signs over sixteen orders of magnitude."""
    return (rng.normal(size=shape) * 10.0 ** rng.integers(-8, 8, shape)).astype(dtype)


def exact(*values):
    """The sum of all entries, without rounding."""
    return sum(Fraction(float(v)) for value in values for v in np.ravel(value))


def test_two_sum_loses_nothing(dtype, rng):
    a, b = wide_ranging(rng, (2, 1000), dtype)
    high, low = jax.jit(compensated.two_sum)(a, b)
    np.testing.assert_array_equal(high, a + b)
    assert all(exact(h, e) == exact(p, q) for h, e, p, q in zip(high, low, a, b, strict=True))


def test_product_loses_nothing_but_the_last_rest(dtype, rng):
    a, b = wide_ranging(rng, (2, 1000), dtype)
    high, low = jax.jit(compensated.product)(a, b)
    eps = Fraction(float(np.finfo(dtype).eps))
    for p, q, product, rest in zip(a, b, high, low, strict=True):
        truth = Fraction(float(p)) * Fraction(float(q))
        assert abs(exact(product, rest) - truth) <= eps**2 * abs(truth)


@pytest.mark.parametrize("size", [1, 2, 3, 64, 101])
def test_total_has_twice_the_digits(dtype, rng, size):
    high = wide_ranging(rng, (size, 50), dtype)
    low = rng.normal(size=(size, 50)).astype(dtype) * np.finfo(dtype).eps * np.abs(high)
    got, rest = jax.jit(compensated.total)(high, low)
    eps = Fraction(float(np.finfo(dtype).eps))
    for column, small, a, b in zip(high.T, low.T, got, rest, strict=True):
        bound = size * eps**2 * exact(np.abs(column), np.abs(small))
        assert abs(exact(a, b) - exact(column, small)) <= bound


def test_a_dot_product_that_cancels(dtype, rng):
    """The terms cancel to a rest far below their rounding, under jit, where compilers fuse."""
    a = wide_ranging(rng, 200, dtype)
    b = wide_ranging(rng, 200, dtype)
    a, b = np.append(a, -a), np.append(b, b)
    a[0] += a[0] * 4 * np.finfo(dtype).eps

    @jax.jit
    def dot(a, b):
        high, low = compensated.total(*compensated.product(a, b))
        return high + low

    truth = float(sum(Fraction(float(p)) * Fraction(float(q)) for p, q in zip(a, b, strict=True)))
    terms = np.abs(a.astype(float) * b).sum()
    np.testing.assert_allclose(dot(a, b), truth, atol=terms * 500 * np.finfo(dtype).eps ** 2)


# --- reduce -----------------------------------------------------------------------------------


every_driver = pytest.mark.parametrize(
    ("driver", "n"),
    # The accelerator's driver is plain JAX, and can be tried on a CPU.
    [
        *((row_sum, n) for n in (7, ONE_BLOCK, ONE_BLOCK + 1, 5 * ONE_BLOCK + 11)),
        (_on_device, 20_011),
    ],
)


@every_driver
def test_row_sum_without_weights_meets_every_row(dtype, rng, driver, n):
    x = rng.normal(size=(n, 3)).astype(dtype)
    got = jax.jit(partial(driver, lambda w, x: (w.sum(), w @ x)))(None, jnp.asarray(x))
    assert got[0] == n
    tolerance = {"float32": 2e-6, "float64": 1e-13}[dtype]
    np.testing.assert_allclose(got[1], x.astype(float).sum(0), atol=tolerance * n)


@every_driver
def test_row_sum_is_the_sum_over_rows(dtype, rng, driver, n):
    x, y = rng.normal(size=(n, 3)).astype(dtype), rng.integers(0, 9, n).astype(np.int32)
    weight = rng.integers(0, 3, n).astype(dtype)
    absent = weight == 0
    spoilt = np.where(absent[:, None], np.nan, x).astype(dtype)

    def statistic(w, x, y):
        return {
            "gram": (x * w[:, None]).T @ x,
            "sum": w.sum(),
            "label": (w * y.astype(w.dtype)).sum(),
        }

    got = jax.jit(partial(driver, statistic))(*map(jnp.asarray, (weight, spoilt, y)))
    wide = x.astype(float)
    want = {"gram": (wide.T * weight) @ wide, "sum": weight.sum(), "label": weight @ y}
    tolerance = {"float32": 2e-6, "float64": 1e-13}[dtype]
    for name in want:
        assert got[name].dtype == dtype
        np.testing.assert_allclose(got[name], want[name], rtol=tolerance, atol=tolerance * n)


def test_row_sum_in_float32_adds_the_blocks_with_compensation(rng):
    """A running float32 sum of so many blocks would be off by more."""
    n = 2_000_003
    x = (1e4 + rng.random((n, 1))).astype(np.float32)
    got = jax.jit(partial(row_sum, lambda w, x: w @ x))(jnp.ones(n), jnp.asarray(x))
    np.testing.assert_allclose(got, x.astype(float).sum(0), rtol=3e-7)


@pytest.mark.parametrize("n", [5, 8, 29])
@pytest.mark.parametrize("weighted", [True, False])
def test_row_fold_meets_every_row_once_and_in_order(n, weighted):
    weight = jnp.ones(n) if weighted else None
    rows = jnp.arange(1.0, n + 1)

    def step(carry, w, r):
        count, last, sorted_ = carry
        seen = jnp.where(w > 0, r, jnp.inf)
        return count + (w * r).sum(), jnp.maximum(last, r.max()), sorted_ & (seen.min() > last)

    start = (jnp.zeros(()), jnp.zeros(()), jnp.asarray(True))
    total, last, in_order = row_fold(step, start, weight, rows, size=8)
    assert (total, last, in_order) == (n * (n + 1) / 2, n, True)


def test_absent_rows_are_masked():
    weight = jnp.array([0.0, 1.0, 0.0, 2.0])
    rows = jnp.array([jnp.nan, jnp.nan, 3.0, 4.0])
    np.testing.assert_array_equal(present(weight, rows), [0, np.nan, 0, 4])
    np.testing.assert_array_equal(finite(weight, rows), [0, np.nan, 3, 4])
    np.testing.assert_array_equal(ones_like_rows(rows, None), np.ones(4))


def test_the_mean_of_a_sample_is_close_to_the_mean(rng):
    x = (1e6 + rng.normal(size=(50_000, 2))).astype(np.float32)
    weight = rng.integers(0, 2, 50_000).astype(np.float32)
    x[weight == 0] = np.nan
    shift = mean_of_sample(jnp.asarray(weight), jnp.asarray(x))
    np.testing.assert_allclose(shift, 1e6, rtol=1e-5)
    assert (mean_of_sample(jnp.zeros(8), jnp.full((8, 2), jnp.nan)) == 0).all()


@pytest.mark.parametrize("n", [100, 20_000, 20_011])  # few rows, parts, and a prime number
@pytest.mark.parametrize("outputs", [(), (3,)])
def test_a_product_part_by_part_is_the_product(n, outputs, rng):
    x, coef = jnp.asarray(rng.normal(size=(n, 5))), jnp.asarray(rng.normal(size=(5, *outputs)))
    left = jnp.asarray(rng.normal(size=(n, *outputs)))
    product, back = jax.vjp(times, x, coef)
    np.testing.assert_allclose(product, x @ coef, rtol=1e-6)
    slope = left.reshape(n, -1) @ coef.reshape(5, -1).T, (x.T @ left).reshape(coef.shape)
    for ours, theirs in zip(back(left), slope, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


# --- branch -----------------------------------------------------------------------------------


def counted(calls, value):
    """A branch that says on the host that it ran."""

    def branch(x):
        jax.debug.callback(lambda: calls.append(value))
        return x + value

    return branch


@pytest.mark.parametrize("nested", [False, True])
def test_only_the_lanes_that_ask_pay(nested):
    dear, cheap = [], []
    asks = jnp.array([True, False, False, True, False, False])
    x = jnp.arange(6.0)

    def one(ask, x):
        return cond_per_lane(ask, counted(dear, 10.0), counted(cheap, 1.0), x)

    lanes = jax.vmap(one)
    if nested:
        lanes, asks, x = jax.vmap(lanes), asks.reshape(2, 3), x.reshape(2, 3)
    got = jax.jit(lanes)(asks, x)
    jax.effects_barrier()
    np.testing.assert_array_equal(got, np.where(asks, x + 10, x + 1))
    assert (len(dear), len(cheap)) == (2, 4)


def test_a_branch_over_shared_operands():
    asks, shared = jnp.array([True, False]), jnp.array([1.0, 2.0])
    got = jax.vmap(lambda ask: cond_per_lane(ask, jnp.negative, jnp.positive, shared))(asks)
    np.testing.assert_array_equal(got, [[-1, -2], [1, 2]])


# --- loops as one kernel ----------------------------------------------------------------------


@jax.jit
def orbit(x, n_steps):
    def step(known):
        return jnp.sin(known[0]) + x, known[1] + 1

    return jax.lax.while_loop(lambda known: known[1] < n_steps, step, (x, jnp.int32(0)))[0]


@pytest.mark.parametrize("n", [1, 7, 64, 1001])
def test_a_loop_as_one_kernel_changes_nothing(n, rng):
    x, steps = jnp.asarray(rng.normal(size=n)), jnp.int32(20)
    want = orbit(x, steps)
    np.testing.assert_allclose(jax.jit(one_kernel(orbit))(x, steps), want, rtol=1e-6)
    constant = jax.jit(lambda x: one_kernel(orbit)(x, jnp.int32(20)))(x)
    np.testing.assert_allclose(constant, want, rtol=1e-6)


def test_lanes_of_one_kernel(rng):
    x, steps = jnp.asarray(rng.normal(size=(3, 5))), jnp.array([1, 20, 5], jnp.int32)
    got = jax.jit(jax.vmap(one_kernel(orbit)))(x, steps)
    np.testing.assert_allclose(
        got, [orbit(*lane) for lane in zip(x, steps, strict=True)], rtol=1e-6
    )


def pairs(gram, target):
    known = dual.Problem(target, jnp.minimum(target, 0), jnp.maximum(target, 0), None)
    zero = jnp.zeros_like(target)
    start = dual.State(zero, target, dual.gap(known, zero, target), jnp.int32(0))
    return dual.smo(gram, known, start, jnp.asarray(1e-3, target.dtype), jnp.int32(100)).beta


def hinge(rows, side):
    box, tol = jnp.ones_like(side), jnp.asarray(1e-3, side.dtype)
    return coordinate.hinge(rows * side[:, None], box, tol=tol, max_iter=100).params


@pytest.mark.parametrize("solver", [pairs, hinge])
@pytest.mark.parametrize("n", [1, 2, 3, 9, 65])
def test_every_shape_compiles_to_one_kernel(solver, n, rng):
    """The compiler would not raise but abort, also where all operands are constants."""
    x, target = rng.normal(size=(n, n)), np.where(np.arange(n) % 2, -1.0, 1.0)
    data = jnp.asarray(x @ x.T if solver is pairs else x), jnp.asarray(target)
    compiled = jax.jit(solver).lower(*data).compile()
    tried = jax.default_backend() == "cpu" and jax.__version_info__[:2] in branch._MARKS_CALLS
    assert ("xla_cpu_small_call" in compiled.as_text()) == tried
    np.testing.assert_allclose(jax.jit(lambda: solver(*data))(), compiled(*data), atol=1e-5)


# --- ten million rows in float32 --------------------------------------------------------------


@pytest.mark.slow
def test_ten_million_rows_far_from_zero_in_float32(rng):
    """A plain float32 sum keeps no digit of the spread here."""
    x = 1e4 + rng.standard_normal((10_000_000, 8), np.float32)
    y = x @ np.arange(1, 9, dtype=np.float32) / 8 + rng.standard_normal(len(x), np.float32)
    gram, cross, mean = np.zeros((8, 8)), np.zeros(8), x.mean(0, dtype=float)
    for i in range(0, len(x), 100_000):
        block = x[i : i + 100_000] - mean
        gram += block.T @ block
        cross += block.T @ (y[i : i + 100_000] - y[0].astype(float))
    params, info = linear.fit(jnp.asarray(x), jnp.asarray(y))
    assert info.converged
    np.testing.assert_allclose(params.coef, np.linalg.solve(gram, cross), rtol=1e-4)


@pytest.mark.slow
def test_a_small_spread_about_a_large_mean_in_float32(rng):
    x = (1e6 + 0.5 * rng.standard_normal((1_000_000, 2))).astype(np.float32)
    params = scaling.fit(jnp.asarray(x))
    np.testing.assert_allclose(scaling.scale(params), x.std(0, dtype=float), rtol=1e-4)


# --- whitening --------------------------------------------------------------------------------


def test_whitening_is_a_root_of_the_hessian_and_its_inverse(dtype, rng):
    """For many rows; correlations and units of the columns do not matter."""
    x = rng.normal(size=(4000, 4)) @ rng.normal(size=(4, 4)) * np.array([1e-6, 1, 1e3, 1e9])
    weight, ridge = rng.integers(0, 3, 4000).astype(float), np.array([0, 0.1, 0, 1e19])
    arrays = [jnp.asarray(a, dtype) for a in (x, weight, ridge)]
    root, inverse = whitening(*arrays, curvature=0.25)
    hessian = 0.25 * (x.T * weight) @ x / weight.sum() + np.diag(ridge)
    units = np.sqrt(np.diag(hessian))
    lower, upper = np.asarray(root, float) / units[:, None], np.asarray(inverse, float).T * units
    np.testing.assert_allclose(lower @ lower.T, hessian / np.outer(units, units), atol=1e-2)
    np.testing.assert_allclose(lower @ upper, np.eye(4), atol=1e-3)


def test_whitening_shrinks_what_too_few_rows_show(rng):
    """Independent columns look correlated in a few rows; a change of units is all that is due."""
    root, _ = whitening(
        *map(jnp.float32, (rng.normal(size=(60, 30)), np.ones(60), np.zeros(30))), curvature=1.0
    )
    assert np.linalg.cond(root) < 2


def test_whitening_bears_columns_of_zeros_and_copies(rng):
    x = rng.normal(size=(50, 4))
    x[:, 1], x[:, 2] = 0, x[:, 0]
    root, inverse = whitening(*map(jnp.float32, (x, np.ones(50), np.zeros(4))), curvature=1.0)
    assert np.isfinite(root).all()
    assert np.isfinite(inverse).all()
