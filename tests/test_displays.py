"""The displays of what `jaxfound.inspect` finds: scikit-learn's numbers, drawn."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.pipeline import make_pipeline

import jaxfound as jf
from jaxfound.data import images


@pytest.fixture(autouse=True)
def _no_window():
    import matplotlib.pyplot as plt

    with mpl.rc_context({"backend": "agg"}):
        yield
    plt.close("all")


@pytest.fixture(scope="module")
def diabetes():
    return load_diabetes(return_X_y=True, as_frame=True, scaled=False)


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return X[:, :6], np.array(["malignant", "benign"])[y]


def chain(model):
    return make_pipeline(jf.StandardScaler(), model)


MODELS = {
    "logistic": chain(jf.LogisticRegression()),
    "svc": chain(jf.SVC()),
    "linear-svc": chain(jf.LinearSVC()),
    "pca": make_pipeline(jf.StandardScaler(), jf.PCA(3, whiten=True), jf.LogisticRegression()),
}
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


@each_model
def test_permutation_importance_has_scikit_learns_numbers(model, cancer):
    model.fit(*cancer)
    options = {"n_repeats": 3, "random_state": 7}
    ours = jf.PermutationImportanceDisplay.from_estimator(model, *cancer, **options)
    theirs = permutation_importance(model, *cancer, **options)
    np.testing.assert_allclose(ours.importances, theirs.importances, atol=1e-12)
    np.testing.assert_allclose(ours.importances_std, theirs.importances_std, atol=1e-12)
    assert len(ours.ax_.get_yticklabels()) == 6


@each_model
def test_partial_dependence_has_scikit_learns_numbers(model, cancer):
    model.fit(*cancer)
    ours = jf.PartialDependenceDisplay.from_estimator(
        model, cancer[0], [1, 4], grid_resolution=20, kind="both"
    )
    for i, feature in enumerate([1, 4]):
        theirs = partial_dependence(
            model, cancer[0], [feature], grid_resolution=20, kind="both", method="brute"
        )
        np.testing.assert_allclose(ours.grids[i], theirs.grid_values[0], rtol=1e-12)
        np.testing.assert_allclose(ours.averages[i], theirs.average[0], rtol=1e-8, atol=1e-9)
        individual = theirs.individual[0].T
        np.testing.assert_allclose(ours.individuals[i], individual, rtol=1e-8, atol=1e-9)


def test_a_regression_with_weights_and_names(diabetes):
    X, y = diabetes
    weight = np.random.default_rng(0).integers(0, 3, len(y))
    model = jf.Ridge().fit(X, y, sample_weight=weight)
    ours = jf.PermutationImportanceDisplay.from_estimator(
        model, X, y, n_repeats=2, random_state=1, sample_weight=weight
    )
    theirs = permutation_importance(model, X, y, n_repeats=2, random_state=1, sample_weight=weight)
    np.testing.assert_allclose(ours.importances, theirs.importances, atol=1e-12)
    assert ours.ax_.get_yticklabels()[-1].get_text() in X.columns
    panel = jf.PartialDependenceDisplay.from_estimator(model, X, [2], sample_weight=weight)
    assert panel.axes_[0].get_xlabel() == "bmi"


@pytest.mark.parametrize("method", ["integrated_gradients", "gradient"])
@each_model
def test_attributions_of_a_table(model, method, cancer):
    X, y = cancer
    model.fit(X, y)
    baseline = X.mean(0)
    shown = jf.AttributionDisplay.from_estimator(model, X[:5], method=method, baseline=baseline)
    assert shown.values.shape == (5, 6)
    if method == "integrated_gradients":
        rise = model.decision_function(X[:5]) - model.decision_function(baseline[None])
        np.testing.assert_allclose(shown.values.sum(1), rise, atol=1e-5)
    single = jf.AttributionDisplay.from_estimator(model, X[:1], feature_names=list("abcdef"))
    assert {t.get_text() for t in single.ax_.get_yticklabels()} == set("abcdef")


def test_attributions_of_images():
    known = images.fashion_mnist()
    X, y = known.x_train[:300], known.y_train[:300]
    network = jf.CNNClassifier(channels=(4, 8), hidden=16, epochs=2, random_state=0).fit(X, y)
    shown = jf.AttributionDisplay.from_estimator(network, X[:3], n_steps=64)
    assert shown.values.shape == (3, 28, 28, 1)
    assert shown.axes_.shape == (2, 3)
    size = np.abs(shown.values).sum((1, 2, 3))
    assert (np.abs(shown.residual) < 0.05 * size).all()
    np.testing.assert_array_equal(shown.values[X[:3] == 0], 0)  # on the baseline already


def test_influence_of_rows(cancer):
    X, y = cancer
    shown = jf.InfluenceDisplay.from_estimator(
        MODELS["logistic"], X[:300], y[:300], X[300:], y[300:], n_checked=10
    )
    assert shown.influence.shape == (300,)
    assert np.corrcoef(shown.influence[shown.checked], shown.left_out)[0, 1] > 0.99


def test_influence_on_a_regression(diabetes):
    X, y = (np.asarray(a) for a in diabetes)
    model = jf.LinearRegression()
    shown = jf.InfluenceDisplay.from_estimator(model, X[:300], y[:300], X[300:], y[300:])
    row = shown.checked[0]
    kept = np.arange(300)[np.arange(300) != row]
    loss = [
        -np.mean((y[300:] - model.fit(X[rows], y[rows]).predict(X[300:])) ** 2)
        for rows in (kept, np.arange(300))
    ]
    np.testing.assert_allclose(shown.left_out[0], loss[0] - loss[1], rtol=1e-6)


def test_coefficients_of_a_line_through_the_diabetes_data(diabetes):
    X, y = diabetes
    model = jf.LinearRegression().fit(X, y)
    shown = jf.CoefficientDisplay.from_estimator(model, X, y)
    rows = np.c_[X, np.ones(len(y))]
    sigma = np.sum((y - model.predict(X)) ** 2) / (len(y) - 11)
    errors = np.sqrt(np.diag(np.linalg.inv(rows.T @ rows)) * sigma)
    np.testing.assert_allclose(shown.inference.error.coef, errors[:-1], rtol=1e-8)
    np.testing.assert_allclose(shown.inference.error.intercept, errors[-1], rtol=1e-8)
    assert [t.get_text() for t in shown.ax_.get_yticklabels()] == list(X.columns)


def test_coefficients_of_a_logistic_model(cancer):
    X, y = cancer
    X = (X - X.mean(0)) / X.std(0)
    model = jf.LogisticRegression(C=np.inf).fit(X[:, :2], y)
    shown = jf.CoefficientDisplay.from_estimator(model, X[:, :2], y, level=0.9)
    p = model.predict_proba(X[:, :2])[:, 1]
    rows = np.c_[X[:, :2], np.ones(len(y))]
    errors = np.sqrt(np.diag(np.linalg.inv(rows.T * (p * (1 - p)) @ rows)))
    np.testing.assert_allclose(shown.inference.error.coef, errors[:2], rtol=1e-8)


def test_bootstrap_intervals_of_coefficients(diabetes):
    X, y = diabetes
    known = jf.CoefficientDisplay.from_estimator(jf.LinearRegression().fit(X, y), X, y)
    options = {"n_samples": 400, "random_state": 0}
    for model, shrunk in ((jf.LinearRegression(), False), (jf.Ridge(1e4), True)):
        model.fit(X, y)
        shown = jf.CoefficientDisplay.from_estimator(model, X, y, **options)
        found = shown.inference
        np.testing.assert_allclose(found.estimate.coef, model.coef_, rtol=1e-9)
        assert (found.low.coef < model.coef_).all()
        assert (model.coef_ < found.high.coef).all()
        ratio = found.error.coef / known.inference.error.coef
        assert (ratio.mean() < 0.9) if shrunk else (0.8 < ratio.min() < ratio.max() < 1.25)
        assert found.samples.coef.shape == (400, 10)


def test_prediction_intervals(diabetes):
    X, y = (np.asarray(a) for a in diabetes)
    shown = jf.PredictionIntervalDisplay.from_estimator(
        chain(jf.Ridge()), X[:300], y[:300], X[300:], y[300:], level=0.8
    )
    inside = (shown.low <= y[300:]) & (y[300:] <= shown.high)
    assert 0.7 < inside.mean() < 0.9
    np.testing.assert_allclose(
        shown.prediction, chain(jf.Ridge()).fit(X[:300], y[:300]).predict(X[300:])
    )


def test_what_has_no_answer_is_an_error(cancer, diabetes):
    X, y = cancer
    iris = load_iris(return_X_y=True)
    ridge = jf.Ridge().fit(*diabetes)
    logistic = jf.LogisticRegression(max_iter=1000).fit(X, y)
    with pytest.raises(ValueError, match="SVC of 3 classes, expected two"):
        jf.AttributionDisplay.from_estimator(jf.SVC().fit(*iris), iris[0])
    with pytest.raises(TypeError, match="PCA of jaxfound"):
        jf.AttributionDisplay.from_estimator(jf.PCA(2).fit(X), X)
    with pytest.raises(ValueError, match=r"C is 1\.0, expected numpy\.inf"):
        jf.CoefficientDisplay.from_estimator(logistic, X, y)
    with pytest.raises(TypeError, match="expected a LinearRegression"):
        jf.CoefficientDisplay.from_estimator(ridge, *diabetes)
    with pytest.raises(TypeError, match="expected one coefficient a column"):
        jf.CoefficientDisplay.from_estimator(jf.SVC().fit(X, y), X, y, n_samples=10)
    with pytest.raises(ValueError, match="expected a regression"):
        jf.PredictionIntervalDisplay.from_estimator(logistic, X, y, X)
    with pytest.raises(ValueError, match="has 2 names, expected 6"):
        jf.AttributionDisplay.from_estimator(logistic, X, feature_names=["a", "b"])
    with pytest.raises(ValueError, match="has the label 'other'"):
        jf.PermutationImportanceDisplay.from_estimator(logistic, X, ["other"] * len(X))
    with pytest.raises(ValueError, match="margins, no probabilities"):
        jf.PermutationImportanceDisplay.from_estimator(
            jf.LinearSVC().fit(*iris), *iris, scoring="neg_log_loss"
        )


def test_a_frame_names_its_columns(cancer):
    X = pd.DataFrame(cancer[0], columns=[f"column {i}" for i in range(6)])
    model = MODELS["logistic"].fit(X, cancer[1])
    shown = jf.AttributionDisplay.from_estimator(model, X[:1])
    assert set(shown.feature_names) == set(X.columns)
