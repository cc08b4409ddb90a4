"""What a model says about itself, against closed forms, refits, scikit-learn and textbooks."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxfound import metrics
from jaxfound.inspect import (
    attribution,
    conformal,
    dependence,
    importance,
    influence,
    uncertainty,
)
from jaxfound.model_selection import folds
from jaxfound.model_selection.pipeline import Pipeline
from jaxfound.models import linear, logistic, ridge, scaling, svm

SETS = json.loads((Path(__file__).parent / "data" / "nist_strd.json").read_text("utf-8"))
# Damage to the O-rings of 23 shuttle flights and the temperature in degrees Fahrenheit: S. Dalal,
# E. Fowlkes, B. Hoadley, Risk analysis of the space shuttle, JASA 84 (1989). The coefficients and
# their errors are those of A. Agresti, Categorical Data Analysis, 2nd ed., problem 5.9.
FAHRENHEIT = "66 70 69 68 67 72 73 70 57 63 70 78 67 53 67 75 70 81 76 79 75 76 58"
DAMAGED = "0 1 0 0 0 0 0 0 1 1 1 0 0 1 0 0 0 0 0 0 1 0 1"


def table(rng, n=60, d=3, dtype=np.float64):
    x = rng.normal(size=(n, d)).astype(dtype)
    y = x @ np.arange(1.0, d + 1).astype(dtype) + rng.normal(size=n).astype(dtype)
    return jnp.asarray(x), jnp.asarray(y)


def labels(y):
    return (y > y.mean()).astype(jnp.int32)


def coefficients(params):
    return params.coef


# --- attribution ------------------------------------------------------------------------------


def test_gradients_of_a_linear_score_are_its_coefficients(dtype, rng):
    x, y = table(rng, dtype=dtype)
    params, _ = logistic.fit(x, labels(y))
    slopes = attribution.input_gradients(logistic.decision, params, x)
    assert slopes.dtype == dtype
    np.testing.assert_allclose(slopes, np.tile(params.coef, (len(x), 1)), rtol=1e-6)


@pytest.mark.parametrize("kernel", ["rbf", "poly"])
def test_integrated_gradients_of_a_smooth_score_are_complete(x64, rng, kernel):
    x, y = table(rng)
    params, _ = svm.fit(x, labels(y), config=svm.Config(kernel))
    baseline = x.mean(0)
    found = attribution.integrated_gradients(svm.decision, params, x, baseline)
    rise = svm.decision(params, x) - svm.decision(params, baseline[None])
    np.testing.assert_allclose(found.values.sum(1), rise, atol=1e-8)
    np.testing.assert_allclose(found.residual, 0, atol=1e-8)


@pytest.mark.parametrize("target", [None, 1, "rows"])
def test_the_target_chooses_the_score(x64, rng, target):
    x, y = table(rng)
    y = jnp.digitize(y, jnp.quantile(y, jnp.asarray([0.3, 0.6])))
    params, _ = logistic.fit(x, y, config=logistic.Config(n_classes=3))
    known = {None: logistic.predict(params, x), 1: np.ones(len(x), int), "rows": y}[target]
    slopes = attribution.input_gradients(
        logistic.decision, params, x, None if target is None else known
    )
    np.testing.assert_allclose(slopes, params.coef.T[np.asarray(known)], rtol=1e-12)


# --- importance and dependence: scikit-learn's numbers are in test_displays ---------------------


def r2(params, x, y, weight):
    return metrics.r2_score(y, linear.predict(params, x), weight)


def test_a_column_that_the_model_ignores_has_no_importance(dtype, rng):
    x, y = table(rng, dtype=dtype)
    params, _ = linear.fit(x, y)
    params = params._replace(coef=params.coef.at[1].set(0))
    orders = jnp.asarray(np.array([rng.permutation(len(x)) for _ in range(4)]))
    found = importance.permutation_importance(r2, params, x, y, orders)
    assert found.values.shape == (3, 4)
    np.testing.assert_allclose(found.values[1], 0, atol=1e-6)
    by_hand = r2(params, x, y, None) - r2(params, x.at[:, 2].set(x[orders[3], 2]), y, None)
    np.testing.assert_allclose(found.values[2, 3], by_hand, rtol=1e-4)


def test_rows_of_weight_zero_count_in_no_average(x64, rng):
    x, y = table(rng)
    params, _ = linear.fit(x, y)
    weight = jnp.arange(len(x)) < 40
    where = jnp.asarray([0, 2]), jnp.asarray([[0.0, 1.0], [2.0, 3.0], [-1.0, 0.5]])
    found = dependence.partial_dependence(
        linear.predict, params, x.at[50].set(jnp.nan), *where, weight
    )
    cut = dependence.partial_dependence(linear.predict, params, x[:40], *where)
    np.testing.assert_allclose(found.average, cut.average, rtol=1e-12)
    line = params.intercept + x[:40, 1].mean() * params.coef[1] + where[1] @ params.coef[where[0]]
    np.testing.assert_allclose(found.average, line, rtol=1e-12)


# --- influence --------------------------------------------------------------------------------


def test_influence_on_least_squares_is_the_closed_form(x64, rng):
    """Leaving row i out moves beta by the first-order change divided by 1 - h_i."""
    x, y = table(rng)
    slopes = influence.influence(coefficients, linear, x, y)
    rows = jnp.arange(len(x))
    truth = influence.left_out(coefficients, linear, rows, x, y)
    centred = np.asarray(x) - np.asarray(x).mean(0)
    leverage = np.diag(centred @ np.linalg.inv(centred.T @ centred) @ centred.T) + 1 / len(x)
    np.testing.assert_allclose(slopes.T / (1 - leverage)[:, None], truth, rtol=1e-8)


def mean_loss(params, x, y):
    return metrics.log_loss(y, logistic.predict_proba(params, x))


@pytest.mark.parametrize("model", [logistic, Pipeline((scaling, logistic))], ids=["plain", "chain"])
def test_influence_on_a_loss_predicts_what_leaving_out_does(x64, rng, model):
    x, y = table(rng, n=150)
    y = labels(y)
    held, exact = (x[:50], y[:50]), logistic.Hyper(tol=1e-10)
    of_loss, hyper = (mean_loss, exact) if model is logistic else (chain_loss, (None, exact))
    slopes = influence.influence(of_loss, model, x[50:], y[50:], None, hyper, *held)
    truth = influence.left_out(of_loss, model, jnp.arange(100), x[50:], y[50:], None, hyper, *held)
    assert np.corrcoef(slopes, truth)[0, 1] > 0.98
    np.testing.assert_allclose(slopes, truth, atol=0.3 * float(jnp.abs(truth).max()))


def chain_loss(params, x, y):
    return metrics.log_loss(y, Pipeline((scaling, logistic)).predict_proba(params, x))


def test_influence_is_the_slope_in_the_weight(x64, rng):
    x, y = table(rng)
    y, hyper, step = labels(y), logistic.Hyper(tol=1e-12), 1e-4
    slopes = influence.influence(coefficients, logistic, x, y, None, hyper)
    weight = jnp.ones(len(x)).at[3].add(-step)
    moved = logistic.fit(x, y, weight, hyper)[0].coef - logistic.fit(x, y, None, hyper)[0].coef
    np.testing.assert_allclose(slopes[:, 3], moved / step, rtol=1e-3)


def test_a_row_of_weight_zero_has_no_influence(x64, rng):
    x, y = table(rng)
    weight = jnp.ones(len(x)).at[7].set(0)
    slopes = influence.influence(coefficients, ridge, x, y, weight, ridge.Hyper(2.0))
    assert (slopes[:, 7] == 0).all()
    assert (slopes[:, 8] != 0).all()


# --- standard errors ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(SETS))
def test_standard_errors_are_those_that_nist_certifies(x64, name):
    known = SETS[name]
    y = np.array(known["y"], float)
    x = np.array(known["x"], float).reshape(len(y), -1)
    if known["model"].startswith("polynomial"):
        x = x ** np.arange(1, known["n_par"])
    config = linear.Config(fit_intercept=known["intercept"])
    params, _ = linear.fit(jnp.asarray(x), jnp.asarray(y), config=config)
    found = uncertainty.least_squares(params, x, jnp.asarray(y), config=config)
    errors = [row["sd"] for row in sorted(known["certified"], key=lambda row: row["i"])]
    got = np.append(found.error.intercept, found.error.coef)[0 if known["intercept"] else 1 :]
    assert found.df == known["residual_df"]
    # Wampler 1 and 2 fit exactly: their errors are zero, up to rounding the targets.
    np.testing.assert_allclose(got, errors, rtol=1e-7, atol=1e-7 * np.abs(y).max() * 1e-6)


def test_a_logistic_fit_of_the_shuttle_flights(x64):
    x = np.array(FAHRENHEIT.split(), float)[:, None]
    y = np.array(DAMAGED.split(), int)
    config = logistic.Config()
    params, _ = logistic.fit(x, jnp.asarray(y), hyper=logistic.Hyper(jnp.inf, tol=1e-10))
    found = uncertainty.maximum_likelihood(params, x, y, config=config)
    got = [*found.estimate.coef, found.estimate.intercept, *found.error.coef, found.error.intercept]
    np.testing.assert_allclose(got, [-0.2322, 15.0429, 0.1082, 7.3786], atol=5e-5)
    np.testing.assert_allclose(found.p_value.coef, [0.0320], atol=5e-5)
    np.testing.assert_allclose(
        found.high.coef, found.estimate.coef + 1.959963984540054 * found.error.coef
    )


def test_integer_weights_are_repeated_rows(x64, rng):
    x, y = table(rng)
    weight = jnp.asarray(rng.integers(0, 3, len(x)).astype(float))
    rows = np.repeat(np.arange(len(x)), np.asarray(weight, int))
    params, _ = linear.fit(x, y, weight)
    broken = x.at[int(np.argmin(weight))].set(jnp.nan)
    weighted = uncertainty.least_squares(params, broken, y, weight)
    repeated = uncertainty.least_squares(params, x[rows], y[rows])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), weighted, repeated)


def test_several_targets_have_an_error_each(x64, rng):
    x, y = table(rng)
    both = jnp.stack([y, -3 * y], 1)
    params, _ = linear.fit(x, both)
    found = uncertainty.least_squares(params, x, both)
    np.testing.assert_allclose(found.error.coef[:, 1], 3 * found.error.coef[:, 0], rtol=1e-10)
    np.testing.assert_allclose(found.p_value.coef[:, 1], found.p_value.coef[:, 0], rtol=1e-8)


@pytest.mark.parametrize("df", [1.0, 2.5, 9.0, 100.0, 1e5])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_quantiles_of_students_law(x64, df, level):
    got = uncertainty.t_quantile(jnp.asarray(level), jnp.asarray(df))
    np.testing.assert_allclose(got, stats.t.ppf((1 + level) / 2, df), rtol=1e-8)


def test_three_classes_are_refused(rng):
    x, y = table(rng, dtype=np.float32)
    config = logistic.Config(n_classes=3)
    params, _ = logistic.fit(x, labels(y), config=config)
    with pytest.raises(ValueError, match="n_classes=3, expected 2"):
        uncertainty.maximum_likelihood(params, x, labels(y), config=config)


# --- conformal ----------------------------------------------------------------------------------


def cv_plus_by_hand(x, y, new, held, alpha):
    n, low, high = len(x), [], []
    fits = [np.linalg.lstsq(np.c_[x, np.ones(n)][~h], y[~h])[0] for h in held]
    fold = held.argmax(0)
    residual = np.array([abs(y[i] - np.append(x[i], 1) @ fits[fold[i]]) for i in range(n)])
    for point in new:
        centre = np.array([np.append(point, 1) @ fits[k] for k in fold])
        low.append(np.sort(centre - residual)[int(np.floor(alpha * (n + 1))) - 1])
        high.append(np.sort(centre + residual)[int(np.ceil((1 - alpha) * (n + 1))) - 1])
    return np.array(low), np.array(high)


def test_cross_conformal_intervals_are_those_of_the_definition(x64, rng):
    x, y = table(rng)
    new = table(rng, n=7)[0]
    held = folds.k_fold(len(x), 5).test
    found = conformal.cross_conformal(linear, x, y, new, held, level=0.8)
    arrays = (np.asarray(a) for a in (x, y, new))
    low, high = cv_plus_by_hand(*arrays, np.asarray(held, bool), 0.2)
    np.testing.assert_allclose(found.low, low, rtol=1e-10)
    np.testing.assert_allclose(found.high, high, rtol=1e-10)


def test_cross_conformal_intervals_cover_what_they_promise(rng):
    x, y = table(rng, n=400, dtype=np.float32)
    new, truth = table(rng, n=2000, dtype=np.float32)
    found = conformal.cross_conformal(linear, x, y, new, folds.k_fold(400, 10).test, level=0.9)
    share = ((found.low <= truth) & (truth <= found.high)).mean()
    assert 0.87 < share < 0.94


def test_cross_conformal_counts_weights_as_rows(x64, rng):
    x, y = table(rng)
    new, fold = table(rng, n=5)[0], jnp.arange(len(x)) % 4
    weight = jnp.asarray(rng.integers(0, 3, len(x)).astype(float))
    rows = np.repeat(np.arange(len(x)), np.asarray(weight, int))
    held, again = (folds.from_assignment(f, 4).test for f in (fold, fold[rows]))
    broken = x.at[int(np.argmin(weight))].set(jnp.nan)
    weighted = conformal.cross_conformal(linear, broken, y, new, held, weight)
    repeated = conformal.cross_conformal(linear, x[rows], y[rows], new, again)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), weighted, repeated)


def test_too_few_rows_for_a_level_have_no_bounded_interval(rng):
    x, y = table(rng, n=12, dtype=np.float32)
    found = conformal.cross_conformal(linear, x, y, x[:2], folds.k_fold(12, 4).test, level=0.99)
    assert jnp.isneginf(found.low).all()
    assert jnp.isposinf(found.high).all()
