"""Bootstrap intervals against closed forms, SciPy and rows that really are repeated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxfound.inspect import bootstrap
from jaxfound.models import linear, logistic, ridge, tree

KEY = jax.random.key(0)
SAMPLES = 4000
CHANCE = 4 / np.sqrt(SAMPLES)  # of a deviation, relative: 4 / sqrt(2 b) and more
# Score on a law test and grades at 15 law schools: B. Efron, R. Tibshirani, An Introduction to the
# Bootstrap, 1993, table 3.1.
LAW = [576, 635, 558, 578, 666, 580, 555, 661, 651, 605, 653, 575, 545, 572, 594]
GRADES = [3.39, 3.30, 2.81, 3.03, 3.44, 3.07, 3.00, 3.43, 3.36, 3.13, 3.12, 2.74, 2.76, 2.88, 2.96]


def intercept(params):
    return params.intercept


def coef(params):
    return params.coef


def slope(params):
    return params.coef[0]


@pytest.fixture
def skewed(rng):
    """Rows whose slope has a skewed distribution."""
    x = rng.exponential(size=40)
    return x[:, None], x + x * rng.exponential(size=40)


def test_the_error_of_a_mean_is_known(x64, rng):
    y = jnp.asarray(rng.exponential(size=50))
    found = bootstrap.intervals(intercept, linear, jnp.zeros((50, 1)), y, KEY, n_samples=SAMPLES)
    np.testing.assert_allclose(found.estimate, y.mean(), rtol=1e-12)
    np.testing.assert_allclose(found.error, y.std() / np.sqrt(50), rtol=CHANCE)
    assert found.samples.shape == (SAMPLES,)


def test_the_law_schools(x64):
    """The correlation is the slope between standardised columns, here standardised once."""
    x, y = (jnp.asarray(stats.zscore(column)) for column in (LAW, GRADES))
    found = bootstrap.intervals(slope, linear, x[:, None], y, KEY, n_samples=SAMPLES)
    np.testing.assert_allclose(found.estimate, 0.776, atol=5e-4)  # as in the book


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_intervals_of_a_mean_are_those_of_scipy(x64, rng, method):
    y = rng.exponential(size=30)
    found = bootstrap.intervals(
        intercept,
        *(linear, jnp.zeros((30, 1)), jnp.asarray(y), KEY),
        level=0.9,
        n_samples=SAMPLES,
        method=method,
    )
    options = {"method": method, "confidence_level": 0.9, "n_resamples": SAMPLES, "rng": 1}
    theirs = stats.bootstrap((y,), np.mean, **options)
    np.testing.assert_allclose(found.error, theirs.standard_error, rtol=CHANCE)
    ours = found.low, found.high
    np.testing.assert_allclose(ours, theirs.confidence_interval, atol=0.12 * theirs.standard_error)


def test_bca_by_hand(x64, skewed):
    """The acceleration from the closed form of the influence on a slope."""
    x, y = skewed[0][:, 0] - skewed[0].mean(), skewed[1]
    found = bootstrap.intervals(
        slope,
        *(linear, *map(jnp.asarray, skewed), KEY),
        level=0.9,
        n_samples=999,
        method="bca",
    )
    moved = x * (y - y.mean() - found.estimate * x)
    acceleration = (moved**3).sum() / 6 / (moved**2).sum() ** 1.5
    z0 = stats.norm.ppf(np.mean(np.asarray(found.samples) < np.asarray(found.estimate)))
    z = z0 + stats.norm.ppf([0.05, 0.95])
    ends = np.quantile(found.samples, stats.norm.cdf(z0 + z / (1 - acceleration * z)))
    np.testing.assert_allclose((found.low, found.high), ends, rtol=1e-8)


def test_the_interval_of_a_model_that_is_right_holds_its_coefficients(rng):
    """Over many data sets, as often as promised."""

    def one(key):
        design, noise, draws = jax.random.split(key, 3)
        x = jax.random.normal(design, (60, 2))
        y = x @ jnp.array([1.0, -2.0]) + jax.random.normal(noise, (60,))
        config = ridge.Config("cholesky")
        small = ridge.Hyper(jnp.float32(1e-6))
        found = bootstrap.intervals(
            coef, ridge, x, y, draws, None, small, level=0.9, n_samples=200, config=config
        )
        return (found.low < jnp.array([1.0, -2.0])) & (jnp.array([1.0, -2.0]) < found.high)

    held = jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(KEY, 200)).mean()
    assert 0.84 < held < 0.93


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_weights_are_repeated_and_absent_rows(x64, skewed, method):
    x, y = map(jnp.asarray, skewed)
    weight = jnp.arange(40.0) % 3
    poisoned = jnp.where(weight > 0, y, jnp.nan)
    again = np.repeat(np.arange(40), np.asarray(weight, int))
    options = {"n_samples": SAMPLES, "method": method}
    found = bootstrap.intervals(coef, linear, x, poisoned, KEY, weight, **options)
    repeated = bootstrap.intervals(coef, linear, x[again], y[again], KEY, **options)
    np.testing.assert_allclose(found.estimate, repeated.estimate, rtol=1e-9)
    for ours, theirs in ((found.low, repeated.low), (found.high, repeated.high)):
        np.testing.assert_allclose(ours, theirs, atol=0.15 * float(repeated.error[0]))


def test_any_tree_of_arrays_and_any_data_of_its_own(x64, rng):
    x, new = jnp.asarray(rng.normal(size=(30, 2))), jnp.ones((3, 2))
    y = (x[:, 0] + jnp.asarray(rng.normal(size=30)) > 0).astype(jnp.int32)

    def everything(params, rows):
        return {"coef": params.coef, "chance": logistic.predict_proba(params, rows)[:, 1]}

    found = bootstrap.intervals(
        everything, logistic, x, y, KEY, None, None, new, n_samples=50, method="bca"
    )
    assert found.samples["chance"].shape == (50, 3)
    for part in ("coef", "chance"):
        assert (found.low[part] < found.estimate[part]).all()
        assert (found.estimate[part] < found.high[part]).all()


def test_a_tree_has_percentiles_only(rng):
    x = jnp.asarray(rng.normal(size=(40, 2)), jnp.float32)
    y = (x[:, 0] > 0).astype(jnp.int32)

    def share(params, rows):
        return tree.predict_proba(params, rows)[:, 1].mean()

    arguments = (share, tree, x, y, KEY, None, None, x + 0.1)
    assert bootstrap.intervals(*arguments, n_samples=20).error > 0
    with pytest.raises(TypeError, match="no derivative"):
        bootstrap.intervals(*arguments, n_samples=20, method="bca")
