"""The solvers and the implicit derivative against exact answers, SciPy and scikit-learn."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
from sklearn.linear_model import LogisticRegression

from jaxfound.models import logistic, ridge
from jaxfound.numerics import (
    conjugate,
    gradient,
    implicit,
    lbfgs,
    newton,
    nonnegative,
    proximal,
    softmax,
)

# --- solvers ----------------------------------------------------------------------------------


def bowl(hessian):
    """Value and gradient of a quadratic with its minimum at one."""

    def value_and_grad(point):
        slope = hessian @ (point - 1)
        return (point - 1) @ slope / 2, slope

    return value_and_grad


def rosenbrock(p):
    return (1 - p["a"]) ** 2 + 100 * (p["b"] - p["a"] ** 2) ** 2


def test_gradient_descent_takes_the_steps_of_its_optimizer():
    params, losses = gradient.descend(
        lambda p, target: (p - target) ** 2 / 2,
        jnp.zeros(()),
        jnp.ones(()),
        optimizer=optax.sgd(0.25),
        n_steps=4,
    )
    np.testing.assert_allclose(params, 1 - 0.75**4, rtol=1e-6)
    np.testing.assert_allclose(losses, 0.75 ** (2 * np.arange(4)) / 2, rtol=1e-6)


def test_lbfgs_follows_a_curved_valley(x64):
    start = {"a": jnp.asarray(-1.2), "b": jnp.asarray(1.0)}
    solve = partial(lbfgs.minimise, jax.value_and_grad(rosenbrock), start, tol=jnp.asarray(1e-8))
    found = solve(max_iter=100)
    np.testing.assert_allclose([found.params["a"], found.params["b"]], 1, rtol=1e-7)
    assert found.converged
    assert found.n_iter < 50
    assert not solve(max_iter=5).converged


def test_lbfgs_never_ends_above_its_start():
    """A value that is not finite beyond a wall stops the line search, not the descent."""

    def walled(x):
        value = (x**2 * jnp.array([1.0, 1e4])).sum()
        return jnp.where(jnp.abs(x).max() > 3, jnp.nan, value)

    start = jnp.array([2.9, 2.9])
    found = lbfgs.minimise(jax.value_and_grad(walled), start, tol=jnp.asarray(1e-3), max_iter=200)
    assert np.isfinite(found.params).all()
    assert found.value <= walled(start)


@pytest.mark.parametrize("unit", [1.0, 1e-4])
def test_lbfgs_does_not_depend_on_the_unit_of_the_value(unit):
    hessian = unit * jnp.diag(jnp.array([1.0, 3.0, 10.0]))
    tol = jnp.asarray(1e-5 * unit)
    found = lbfgs.minimise(bowl(hessian), jnp.zeros(3), tol=tol, max_iter=50)
    np.testing.assert_allclose(found.params, 1, atol=1e-4)
    assert found.converged


def test_lbfgs_takes_about_as_many_steps_as_that_of_scipy(x64):
    hessian, tol = jnp.diag(jnp.logspace(0, 4, 60)), 1e-5
    found = lbfgs.minimise(bowl(hessian), jnp.zeros(60), tol=jnp.asarray(tol), max_iter=1000)
    options = {"jac": True, "method": "L-BFGS-B", "options": {"gtol": tol, "ftol": 0}}
    known = scipy.optimize.minimize(
        lambda p: tuple(map(np.asarray, bowl(hessian)(p))), np.zeros(60), **options
    )
    assert found.converged
    assert found.n_iter < 1.2 * known.nit


def test_lanes_of_lbfgs_are_fits_of_their_own(x64):
    units = jnp.logspace(-3, 3, 5)

    def solve(unit):
        hessian = unit * jnp.diag(jnp.array([1.0, 30.0, 1000.0]))
        return lbfgs.minimise(bowl(hessian), jnp.zeros(3), tol=1e-6 * unit, max_iter=60)

    lanes, alone = jax.vmap(solve)(units), jax.lax.map(solve, units)
    np.testing.assert_array_equal(lanes.n_iter, alone.n_iter)
    np.testing.assert_allclose(lanes.params, alone.params, rtol=1e-9)


def test_newton_solves_a_quadratic_in_one_step(dtype, rng):
    root = rng.normal(size=(4, 4)).astype(dtype)
    hessian = jnp.asarray(root @ root.T + np.eye(4, dtype=dtype))
    found = newton.minimise(
        lambda p: (*bowl(hessian)(p), hessian),
        jnp.zeros(4, dtype),
        tol=jnp.asarray(100 * np.finfo(dtype).eps, dtype),
        max_iter=5,
    )
    np.testing.assert_allclose(found.params, 1, rtol=1e4 * np.finfo(dtype).eps)
    assert found.converged
    assert found.n_iter <= 3


def test_newton_halves_steps_that_overshoot(x64):
    """The full step on sqrt(1 + t^2) from 2 goes to -8, and on from there."""

    def derivatives(t):
        return jax.value_and_grad(f)(t)[0], jax.grad(f)(t), jax.hessian(f)(t)

    def f(t):
        return jnp.sqrt(1 + t @ t)

    found = newton.minimise(derivatives, jnp.array([2.0]), tol=jnp.asarray(1e-10), max_iter=50)
    assert found.converged
    np.testing.assert_allclose(found.params, 0, atol=1e-10)


def test_a_singular_system_is_solved_along_its_range(x64):
    matrix = jnp.array([[4.0, 4.0], [4.0, 4.0]])
    right = jnp.array([8.0, 8.0])
    np.testing.assert_allclose(implicit.pseudo_solve(matrix, right), [1, 1])
    np.testing.assert_allclose(matrix @ newton.solve_semidefinite(matrix, right), right)


def test_proximal_steps_shrink_by_the_penalty(dtype):
    """With a diagonal Hessian every coordinate is a soft threshold."""
    curvature = np.array([1, 2, 5, 0.5], dtype)
    centre, penalty = np.array([3, -2, 0.1, -1], dtype), np.array([1, 0, 1, 0.1], dtype)

    def value_and_grad(p):
        return (curvature * (p - centre) ** 2).sum() / 2, curvature * (p - centre)

    found = proximal.minimise(
        value_and_grad,
        jnp.zeros(4, dtype),
        jnp.asarray(penalty),
        jnp.asarray(0.5 / curvature),
        tol=jnp.asarray(10 * np.finfo(dtype).eps, dtype),
        max_iter=500,
    )
    want = np.sign(centre) * np.maximum(np.abs(centre) - penalty / curvature, 0)
    np.testing.assert_allclose(found.params, want, atol=50 * np.finfo(dtype).eps)
    value = (curvature * (want - centre) ** 2).sum() / 2 + penalty @ np.abs(want)
    np.testing.assert_allclose(found.value, value, rtol=1e-6)
    assert found.converged


@pytest.mark.parametrize("k", [2, 3])
def test_the_elastic_net_of_scikit_learn(x64, rng, k):
    x = rng.normal(size=(60, 5))
    y = (x[:, :k] + 0.5 * rng.normal(size=(60, k))).argmax(1)
    theirs = LogisticRegression(
        C=0.2, l1_ratio=0.6, solver="saga", tol=1e-10, max_iter=100_000, random_state=0
    ).fit(x, y)
    hyper = logistic.Hyper(C=0.2, l1_ratio=0.6, tol=1e-10)
    params, info = logistic.fit(
        jnp.asarray(x),
        jnp.asarray(y),
        hyper=hyper,
        config=logistic.Config("proximal", k, max_iter=5000),
    )
    assert info.converged
    np.testing.assert_allclose(params.coef.T.reshape(theirs.coef_.shape), theirs.coef_, atol=1e-6)
    assert ((params.coef == 0).T.reshape(theirs.coef_.shape) == (theirs.coef_ == 0)).all()


@pytest.mark.parametrize("seed", range(5))
def test_nonnegative_least_squares_of_scipy(dtype, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(30, 8)), rng.normal(size=30)
    found = jax.jit(partial(nonnegative.minimise, max_iter=50))(
        jnp.asarray(a.T @ a, dtype), jnp.asarray(a.T @ b, dtype)
    )
    want, _ = scipy.optimize.nnls(a, b)
    assert found.converged
    np.testing.assert_allclose(found.params, want, atol={"float32": 1e-5, "float64": 1e-12}[dtype])
    assert ((found.params == 0) == (want == 0)).all()


@pytest.mark.parametrize("rank", [2, 5])
def test_conjugate_gradients_find_the_least_norm(x64, rng, rank):
    x = rng.normal(size=(30, rank)) @ rng.normal(size=(rank, 5))
    y, weight = rng.normal(size=(30, 2)), rng.random(30)
    found = conjugate.least_squares(
        *map(jnp.asarray, (x, y, weight, np.zeros(()), np.zeros(5), np.zeros(2))),
        tol=jnp.asarray(1e-12),
        max_iter=50,
    )
    root = np.sqrt(weight)[:, None]
    want = np.linalg.lstsq(root * x, root * y, rcond=1e-10)[0]
    np.testing.assert_allclose(found.coef, want, rtol=1e-8)
    assert found.converged
    assert found.n_iter <= rank + 3


# --- implicit ---------------------------------------------------------------------------------


def test_derivatives_of_a_minimum_of_any_order(x64):
    """min (a - p)^2 + l p^2 is at a / (1 + l), with second derivative 2a / (1 + l)^3 in l."""

    def minimum(a, l2):
        def objective(p, a, l2):
            return (a - p) ** 2 + l2 * p**2

        def solve(a, l2):
            return a / (1 + l2), None

        return implicit.minimum(objective, solve, a, l2, free=lambda p: jnp.asarray(True))[0]

    a, l2 = jnp.asarray(3.0), jnp.asarray(0.5)
    np.testing.assert_allclose(jax.grad(minimum, 1)(a, l2), -3 / 1.5**2)
    np.testing.assert_allclose(jax.hessian(minimum, 1)(a, l2), 6 / 1.5**3)
    np.testing.assert_allclose(jax.jacfwd(jax.jacrev(minimum, 1), 0)(a, l2), -1 / 1.5**2)


def test_the_curvature_of_a_validation_loss(x64, rng):
    """What a Newton step on a hyperparameter needs: through a fit, twice."""
    x, y = rng.normal(size=(30, 3)), rng.normal(size=30)

    def loss(l2):
        params, _ = ridge.fit(jnp.asarray(x[:20]), jnp.asarray(y[:20]), hyper=ridge.Hyper(l2))
        return ((ridge.predict(params, jnp.asarray(x[20:])) - y[20:]) ** 2).mean()

    slope = jax.jit(jax.grad(loss))
    want = (slope(2.0 + 1e-4) - slope(2.0 - 1e-4)) / 2e-4
    np.testing.assert_allclose(jax.jit(jax.hessian(loss))(2.0), want, rtol=1e-6)


def test_a_fast_function_with_the_derivatives_of_a_plain_one():
    fast = implicit.with_derivatives_of(jnp.sin, lambda x: jax.lax.stop_gradient(jnp.sin(x)))
    x = jnp.asarray(0.3)
    assert fast(x) == jnp.sin(x)
    np.testing.assert_allclose(jax.grad(fast)(x), np.cos(0.3), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(jax.grad(fast))(x), -np.sin(0.3), rtol=1e-6)


def test_a_path_over_many_rows_turns_careful_only_where_it_must(x64, rng):
    # More rows than those for which every fit is careful anyway.
    x = rng.normal(size=(9000, 3)) * np.array([1.0, 1e-9, 1e3])
    x = np.concatenate([x, x[:, :1] + 1e-9 * rng.normal(size=(9000, 1))], 1)
    y, penalties = x[:, 0] + rng.normal(size=9000), np.array([0.0, 1e-3, 1e3])
    path = jax.vmap(lambda l2: ridge.fit(x, y, hyper=ridge.Hyper(l2))[0].coef)(penalties)
    for l2, coef in zip(penalties, path, strict=True):
        alone, _ = ridge.fit(jnp.asarray(x), jnp.asarray(y), hyper=ridge.Hyper(l2))
        np.testing.assert_allclose(coef, alone.coef, rtol=1e-6)


def test_the_losses_of_two_classes_and_of_one_score_are_the_same(x64):
    """Also their slopes and curvatures, where scores are zero or large."""
    eta, y, weight = (
        jnp.array([-700.0, -30.0, 0.0, 1.0, 40.0]),
        jnp.array([0, 1, 0, 1, 1]),
        jnp.ones(5),
    )

    def one(eta):
        return softmax.loss(eta, weight, y)

    def two(eta):
        return softmax.loss(jnp.stack([jnp.zeros(5), eta], 1), weight, y)

    for derivative in (lambda f: f, jax.grad, jax.hessian):
        np.testing.assert_allclose(derivative(one)(eta), derivative(two)(eta), atol=1e-15)
