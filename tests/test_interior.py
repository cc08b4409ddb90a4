"""The interior point for dual problems, which accelerators start from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import make_classification

from jaxfound.numerics import dual, interior, kernels

TOL = 1e-3
N = 300


@pytest.fixture
def gram(x64):
    x, _ = make_classification(N, 10, random_state=0)
    scales = kernels.Scales(jnp.asarray(0.05), jnp.asarray(0.0))
    return kernels.matrix(kernels.Kernel("rbf", 3), scales, jnp.asarray(x), jnp.asarray(x))


def problem(C, task):
    if task == "regression":
        target = jnp.asarray(np.random.default_rng(0).normal(size=N))
        return dual.Problem(target, jnp.full(N, -C), jnp.full(N, C), jnp.asarray(0.1))
    _, y = make_classification(N, 10, random_state=0)
    target = jnp.where(jnp.asarray(y) == 1, 1.0, -1.0)
    return dual.Problem(target, jnp.where(target < 0, -C, 0.0), jnp.where(target > 0, C, 0.0), None)


def zero(known):
    beta = jnp.zeros(N)
    return dual.State(beta, known.target, dual.gap(known, beta, known.target), jnp.int32(0))


@jax.jit
def steps(gram, known, start):
    return dual.smo(gram, known, start, tol=jnp.asarray(TOL), max_iter=jnp.int32(10**5))


approach = jax.jit(interior.approach)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("C", [0.01, 1.0, 100.0, 1e5])
def test_few_steps_come_close_to_the_solution(gram, C, task):
    known = problem(C, task)
    cold = steps(gram, known, zero(known))
    near = approach(gram, known, zero(known), jnp.asarray(TOL))
    warm = steps(gram, known, near)
    assert near.n_iter <= 40
    assert (near.beta >= known.low).all()
    assert (near.beta <= known.high).all()
    assert abs(near.beta.sum()) < 1e-9 * C
    np.testing.assert_allclose(near.slope, known.target - gram @ near.beta, atol=1e-8 * C)
    assert warm.gap <= TOL
    assert int(warm.n_iter - near.n_iter) <= 0.1 * int(cold.n_iter) + 5
    value = [float(b @ (2 * known.target - gram @ b)) / 2 for b in (cold.beta, warm.beta)]
    if task == "classification":
        assert value[1] == pytest.approx(value[0], rel=1e-3)


def test_a_block_keeps_its_sum(gram):
    known = problem(1.0, "classification")
    half = jnp.arange(N) < N // 2
    start = steps(gram, known, zero(known))
    # The rows outside the block stay, and it must make up for their sum.
    block = known._replace(low=jnp.where(half, known.low, 0), high=jnp.where(half, known.high, 0))
    inside = jnp.where(half, start.beta, 0)
    slope = known.target - gram @ inside
    state = dual.State(inside, slope, dual.gap(block, inside, slope), jnp.int32(0))
    near = approach(gram, block, state, jnp.asarray(TOL))
    assert float(near.beta.sum()) == pytest.approx(float(inside.sum()), abs=1e-9)
    assert (near.beta[~half] == 0).all()
    assert near.gap < state.gap


def test_problems_side_by_side(gram):
    sizes = jnp.asarray([0.1, 10.0])
    target = problem(1.0, "classification").target

    def one(C):
        low, high = jnp.where(target < 0, -C, 0), jnp.where(target > 0, C, 0)
        known = dual.Problem(target, low, high, None)
        return interior.approach(gram, known, zero(known), jnp.asarray(TOL)).beta

    together = jax.jit(jax.vmap(one))(sizes)
    for beta, C in zip(together, sizes, strict=True):
        np.testing.assert_allclose(beta, jax.jit(one)(C), atol=1e-6 * C)


def test_what_is_not_finite_is_given_back(gram):
    known = problem(1.0, "classification")
    start = zero(known)
    near = approach(gram.at[0, 0].set(jnp.nan), known, start, jnp.asarray(TOL))
    np.testing.assert_array_equal(near.beta, start.beta)
