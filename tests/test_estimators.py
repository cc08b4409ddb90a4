"""The estimators: scikit-learn's own checks, and the promises that go beyond them."""

import pickle
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from scipy.linalg import LinAlgWarning
from sklearn import config_context as sklearn_context
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as SklearnLogistic
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator
from threadpoolctl import threadpool_info

import jaxfound as jf
from jaxfound.estimators._base import bucket
from jaxfound.estimators._growth import growth
from jaxfound.models import linear, linear_svm, logistic, pca, svm

ESTIMATORS = (
    jf.LinearRegression(),
    jf.Ridge(),
    jf.GradientDescentRegressor(),
    jf.LogisticRegression(),
    jf.LinearSVC(),
    jf.SVC(),
    jf.SVR(),
    jf.StandardScaler(),
    jf.PCA(),
    jf.IncrementalPCA(),
    jf.DecisionTreeClassifier(random_state=0),
    jf.DecisionTreeRegressor(random_state=0),
    jf.RandomForestClassifier(n_estimators=4, random_state=0),
    jf.RandomForestRegressor(n_estimators=4, random_state=0),
)
SUPERVISED = ESTIMATORS[:5]
each = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
each_supervised = pytest.mark.parametrize("estimator", SUPERVISED, ids=lambda e: type(e).__name__)


# As for scikit-learn's own forests.
_DRAWN = {
    "check_sample_weight_equivalence_on_dense_data": "repeated rows are drawn by other numbers"
}


@pytest.fixture(scope="module")
def data():
    X, y = load_breast_cancer(return_X_y=True)
    return (X - X.mean(0)) / X.std(0), y


@pytest.mark.slow
@each
@pytest.mark.parametrize("x64", [False, True])
def test_scikit_learn_checks(estimator, x64):
    # The checks bring float32 and float64 data; JAX's own flag must not matter.
    jax.clear_caches()  # the many programs of one estimator are all that a process may map
    with jax.enable_x64(x64), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some checks fit singular or huge data on purpose
        drawn = isinstance(estimator, jf.RandomForestClassifier | jf.RandomForestRegressor)
        expected = _DRAWN if drawn else None
        options = {"on_fail": None, "on_skip": None, "expected_failed_checks": expected}
        results = check_estimator(estimator, **options)
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert not failed


@each
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_in_numpy_out_in_its_dtype(estimator, data, dtype):
    X, y = data[0].astype(dtype), data[1]
    model = clone(estimator).fit(X, y)
    out = model.transform(X) if hasattr(model, "transform") else _scores(model, X)
    assert isinstance(out, np.ndarray)
    assert out.dtype == dtype
    assert not jax.config.jax_enable_x64


@each
def test_jax_in_jax_out_on_its_device(estimator, data):
    device = jax.devices()[3]
    X, y = (jax.device_put(np.asarray(a, np.float32), device) for a in data)
    model = clone(estimator).fit(X, y)
    out = model.transform(X) if hasattr(model, "transform") else _scores(model, X)
    assert isinstance(out, jax.Array)
    assert out.devices() == {device}
    assert out.dtype == jnp.float32


@each
def test_a_changed_number_of_rows_compiles_once(estimator, data):
    fits = (linear.fit, linear_svm.fit, logistic.fit, pca.jitted, svm.fit, growth)
    clone(estimator).fit(data[0][:500], data[1][:500])
    before = [fit._cache_size() for fit in fits]
    for n in (481, 490, 512):
        clone(estimator).fit(data[0][:n], data[1][:n])
    assert [fit._cache_size() for fit in fits] == before


def test_buckets_grow_slowly_and_waste_little():
    sizes = [bucket(n, 10) for n in range(1, 20_000)]
    assert all(n <= size <= max(16, 1.25 * n + 16) for n, size in enumerate(sizes, 1))
    assert len(set(sizes)) < 64
    assert bucket(1000) == bucket(1010) == bucket(1020)
    assert bucket(10**7 + 1, 10) == 10**7 + 1  # large data is not copied to be padded


def test_large_data_goes_in_chunks_and_keeps_every_row():
    """Missing values in the first chunk do not stop the others; infinity anywhere is refused."""
    X = np.random.default_rng(0).normal(size=(200_000, 30))
    X[0, 0] = np.nan
    model = jf.StandardScaler().fit(X)
    np.testing.assert_allclose(model.mean_, np.nanmean(X, 0), atol=1e-12)
    X[-1, -1] = np.inf
    with pytest.raises(ValueError, match="X has infinity in row 199999"):
        jf.StandardScaler().fit(X)
    with pytest.raises(ValueError, match="X has NaN or infinity in row 0"):
        jf.LinearRegression().fit(X[:-1], np.ones(len(X) - 1))


def test_lapack_has_its_threads_back_after_a_fit(data):
    before = [pool["num_threads"] for pool in threadpool_info()]
    jf.LinearRegression().fit(*data)
    assert [pool["num_threads"] for pool in threadpool_info()] == before


def test_binary_pixels_of_many_classes_converge():
    """Columns of zeros, and nearly so, once sent the whitened steps to infinity."""
    X, y = load_digits(return_X_y=True)
    model = jf.LogisticRegression(max_iter=1000).fit(np.tile(X, (8, 1)), np.tile(y, 8))
    assert model.score(X, y) > 0.99


@each_supervised
def test_padding_and_zero_weight_rows_change_nothing(estimator, data):
    X, y = data[0][:200], data[1][:200]
    weight = np.random.default_rng(0).integers(0, 3, 200).astype(float)
    weighted = clone(estimator).fit(X, y, sample_weight=weight)
    rows = np.repeat(np.arange(200), weight.astype(int))
    repeated = clone(estimator).fit(X[rows], y[rows])
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-3, atol=1e-4)


@each
def test_pickle_and_pandas(estimator, data):
    frame = pd.DataFrame(data[0], columns=[f"f{i}" for i in range(30)])
    model = clone(estimator).fit(frame, data[1])
    assert list(model.feature_names_in_) == list(frame.columns)
    again = pickle.loads(pickle.dumps(model))
    method = "transform" if hasattr(model, "transform") else "predict"
    np.testing.assert_array_equal(getattr(again, method)(frame), getattr(model, method)(frame))


def test_set_output_pandas(data):
    frame = pd.DataFrame(data[0][:, :2], columns=["a", "b"])
    out = jf.StandardScaler().set_output(transform="pandas").fit_transform(frame)
    assert isinstance(out, pd.DataFrame)
    assert list(out.columns) == ["a", "b"]


def test_pipeline_in_grid_search_with_metadata_routing(data):
    with sklearn_context(enable_metadata_routing=True):
        logistic = jf.LogisticRegression().set_fit_request(sample_weight=True)
        logistic.set_score_request(sample_weight=True)
        scaler = jf.StandardScaler().set_fit_request(sample_weight=False)
        grid = {"logisticregression__C": [0.01, 1.0]}
        search = GridSearchCV(make_pipeline(scaler, logistic), grid, cv=3)
        search.fit(*data, sample_weight=np.ones(len(data[1])))
    assert search.best_score_ > 0.95


def test_config_context_overrides_dtype_and_device(data):
    with jf.config_context(dtype="float32", device=jax.devices()[2]):
        model = jf.Ridge().fit(*data)
        assert model.coef_.dtype == np.float32
    assert jf.Ridge().fit(*data).coef_.dtype == np.float64


def test_gradient_descent_takes_any_optimiser():
    X, y = load_diabetes(return_X_y=True)
    X = X / X.std(0)
    ready = jf.GradientDescentRegressor(n_iterations=300, optimizer=optax.adam(1.0)).fit(X, y)
    made = jf.GradientDescentRegressor(1.0, 300, optimizer=optax.adam).fit(X, y)
    np.testing.assert_allclose(ready.coef_, made.coef_, rtol=1e-6)
    assert ready.loss_curve_.shape == (300,)
    assert ready.loss_curve_[-1] < ready.loss_curve_[0] / 5


def test_logistic_equals_scikit_learn_with_class_weights_and_strings(data):
    X, names = data[0], np.array(["no", "yes"])[data[1]]
    ours = jf.LogisticRegression(class_weight="balanced", tol=1e-8, max_iter=1000).fit(X, names)
    theirs = SklearnLogistic(class_weight="balanced", tol=1e-8, max_iter=1000).fit(X, names)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-4, atol=1e-5)
    assert (ours.predict(X) == theirs.predict(X)).all()


BAD = {
    "one class": (lambda X, y: (X, np.zeros(len(y), int)), ValueError, "one class"),
    "NaN": (lambda X, y: (np.where(X > 2, np.nan, X), y), ValueError, "NaN"),
    "infinity": (lambda X, y: (np.where(X > 2, np.inf, X), y), ValueError, "infinity"),
    "short y": (lambda X, y: (X, y[:-1]), ValueError, "inconsistent"),
    "one axis": (lambda X, y: (X[:, 0], y), ValueError, "2D array"),
    "strings": (lambda X, y: (np.full(X.shape, "a"), y), ValueError, "convert|numeric"),
    "negative weight": (lambda X, y: (X, y, -np.ones(len(y))), ValueError, "[Nn]egative"),
    "zero weights": (lambda X, y: (X, y, np.zeros(len(y))), ValueError, "zero"),
    "no rows": (lambda X, y: (X[:0], y[:0]), ValueError, "0 sample"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_is_named(name, data):
    spoil, error, message = BAD[name]
    with pytest.raises(error, match=message):
        jf.LogisticRegression().fit(*spoil(*data))


SETTINGS = {
    "alpha": (jf.Ridge(alpha=-1.0), ValueError),
    "solver": (jf.Ridge(solver="magic"), ValueError),
    "C": (jf.LogisticRegression(C=0.0), ValueError),
    "max_iter": (jf.LogisticRegression(max_iter=2.5), TypeError),
    "learning_rate": (jf.GradientDescentRegressor(learning_rate="fast"), TypeError),
    "n_iterations": (jf.GradientDescentRegressor(n_iterations=0), ValueError),
    "optimizer": (jf.GradientDescentRegressor(optimizer="adam"), TypeError),
    "fit_intercept": (jf.LinearRegression(fit_intercept="yes"), TypeError),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_bad_settings_are_named_before_anything_is_fitted(name, data):
    estimator, error = SETTINGS[name]
    with pytest.raises(error, match=f"{name} is .*expected"):
        estimator.fit(*data)
    assert not hasattr(estimator, "coef_")


def test_singular_design_warns_and_has_least_norm():
    X = np.random.default_rng(0).standard_normal((50, 3))
    X = np.column_stack([X, X[:, 0]])
    y = X.sum(1)
    with pytest.warns(LinAlgWarning, match="rank 3"):
        model = jf.LinearRegression().fit(X, y)
    np.testing.assert_allclose(model.coef_, [1, 1, 1, 1], rtol=1e-10)


def test_float32_warns_where_it_holds_no_digits():
    X = np.vander(np.linspace(1, 2, 60), 6)[:, :-1]
    y = X.sum(1)
    with pytest.warns(LinAlgWarning, match="fewer than 3 digits|rank"):
        jf.LinearRegression().fit(X.astype(np.float32), y)


def test_unconverged_and_diverged_fits_warn(data):
    with pytest.warns(ConvergenceWarning, match="max_iter|iterations"):
        jf.LogisticRegression(max_iter=1, tol=1e-10).fit(*data)
    with pytest.warns(ConvergenceWarning, match="diverged"):
        jf.GradientDescentRegressor(1e6).fit(*data)


def _scores(model, X):
    known = ("decision_function", "predict_proba", "predict")
    method = next(name for name in known if hasattr(model, name))
    return getattr(model, method)(X)
