"""Support vector machines beside LIBSVM, and where they are hard."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import svm as sk
from sklearn.datasets import load_digits, make_classification, make_regression
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.pairwise import linear_kernel, rbf_kernel

import jaxfound as jf
from jaxfound import parallel
from jaxfound.models import svm

TOL = 1e-3


def binary(n=400, d=8, seed=0, **options):
    return make_classification(n, d, n_informative=d // 2, flip_y=0.1, random_state=seed, **options)


def gram(model, x):
    return linear_kernel(x) if model.kernel == "linear" else rbf_kernel(x, gamma=model._gamma)


def duals(model, n):
    beta = np.zeros(n)
    beta[model.support_] = model.dual_coef_[0]
    return beta


def dual_value(model, x, target, epsilon=0.0):
    beta = duals(model, len(x))
    return target @ beta - epsilon * np.abs(beta).sum() - beta @ gram(model, x) @ beta / 2


def true_gap(model, x, target, C):
    """Fan, Chen, Lin 2005, eq. 8, from nothing but the fitted attributes, in float64."""
    beta = duals(model, len(x)).astype(float)
    slope = target - gram(model, x.astype(float)) @ beta
    low, high = np.minimum(0, C * target), np.maximum(0, C * target)
    assert abs(beta.sum()) <= 1e-6 * C * len(x)
    assert (beta >= low * (1 + 1e-6)).all()
    assert (beta <= high * (1 + 1e-6)).all()
    rise = slope[beta < high * (1 - 1e-7) - 1e-30 * (high > 0)].max()
    return rise - slope[beta > low * (1 - 1e-7)].min()


def jaccard(a, b):
    return len(np.intersect1d(a, b)) / len(np.union1d(a, b))


def assert_like_libsvm(ours, theirs, held_out):
    assert jaccard(ours.support_, theirs.support_) >= 0.999
    scores, wanted = ours.decision_function(held_out), theirs.decision_function(held_out)
    np.testing.assert_allclose(scores, wanted, atol=5e-3)
    assert (ours.predict(held_out) == theirs.predict(held_out)).mean() >= 0.999
    assert ours.fit_status_ == 0
    assert ours.dual_coef_.shape[0] == theirs.dual_coef_.shape[0]
    assert len(ours.n_support_) == len(theirs.n_support_)


# --- beside LIBSVM ----------------------------------------------------------------------------


@pytest.mark.parametrize("given", [np.float32, np.float64])
@pytest.mark.parametrize("n", [300, 2000])  # a Gram matrix at once, and by blocks
@pytest.mark.parametrize("C", [0.1, 1.0, 30.0])
def test_classification_is_libsvms(given, n, C):
    x, y = binary(n + 300)
    x = x.astype(given)
    # At the usual tol two right solvers may differ in a row that is barely a support vector.
    assert_like_libsvm(*(m.SVC(C=C, tol=1e-6).fit(x[:n], y[:n]) for m in (jf, sk)), x[n:])
    ours, theirs = (m.SVC(C=C).fit(x[:n], y[:n]) for m in (jf, sk))
    held_out = [model.decision_function(x[n:]) for model in (ours, theirs)]
    np.testing.assert_allclose(*held_out, atol=5e-3)
    target = 2.0 * y[:n] - 1
    best = dual_value(theirs, x[:n], target)
    assert dual_value(ours, x[:n], target) >= best - 1e-6 * abs(best)
    assert true_gap(ours, x[:n], target, C) <= 1.5 * TOL


@pytest.mark.parametrize("given", [np.float32, np.float64])
def test_large_penalties_keep_the_gap(given):
    x, y = binary(500)
    x = x.astype(given)
    ours, theirs = (m.SVC(C=1000.0, gamma=0.02).fit(x, y) for m in (jf, sk))
    target = 2.0 * y - 1
    best = dual_value(theirs, x, target)
    assert dual_value(ours, x, target) == pytest.approx(best, rel=1e-6)
    assert true_gap(ours, x, target, 1000.0) <= 1.5 * TOL


@pytest.mark.parametrize("shape", ["ovr", "ovo"])
def test_digits_are_libsvms_one_vs_one(shape):
    x, y = load_digits(return_X_y=True)
    names = np.array([f"digit {i}" for i in range(10)])[y]
    ours, theirs = (
        m.SVC(decision_function_shape=shape, tol=1e-6).fit(x[:900], names[:900]) for m in (jf, sk)
    )
    assert_like_libsvm(ours, theirs, x[900:])
    np.testing.assert_array_equal(ours.n_support_, theirs.n_support_)
    np.testing.assert_allclose(ours.dual_coef_, theirs.dual_coef_, atol=5e-3)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=5e-3)


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf", "sigmoid"])
def test_kernels_classes_and_weights_are_libsvms(kernel):
    x, y = binary(240, 6, n_classes=3)
    # So that the sigmoid is close to linear: it is no definite kernel, and has several optima.
    settings = {"kernel": kernel, "gamma": 0.005, "coef0": 0.1, "degree": 2, "tol": 1e-6}
    weight = np.random.default_rng(0).uniform(0, 2, 240)
    ours, theirs = (m.SVC(**settings, class_weight="balanced").fit(x, y, weight) for m in (jf, sk))
    # LIBSVM counts rows where the classes are balanced, ours the weight.
    balance = dict(zip(ours.classes_, ours.class_weight_, strict=True))
    theirs = sk.SVC(**settings, class_weight=balance).fit(x, y, weight)
    np.testing.assert_allclose(ours.decision_function(x), theirs.decision_function(x), atol=1e-3)
    if kernel == "linear":
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-3)


@pytest.mark.parametrize("n", [200, 1800])
@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_regression_is_libsvms(n, kernel):
    x, y = make_regression(n, 5, noise=20, random_state=0)
    y = y / y.std()
    ours, theirs = (m.SVR(kernel=kernel, C=3.0).fit(x, y) for m in (jf, sk))
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), atol=5e-3)
    best = dual_value(theirs, x, y, epsilon=0.1)
    assert dual_value(ours, x, y, epsilon=0.1) >= best - 1e-6 * abs(best)
    assert jaccard(ours.support_, theirs.support_) >= 0.99  # rows on the tube may be either


def test_precomputed_and_callable_kernels_are_the_built_in_one():
    x, y = binary(100)
    built_in = jf.SVC(kernel="linear").fit(x, y)
    given = jf.SVC(kernel="precomputed").fit(x @ x.T, y)
    function = jf.SVC(kernel=lambda a, b: a @ b.T).fit(x, y)
    want = built_in.decision_function(x)
    np.testing.assert_allclose(given.decision_function(x @ x.T), want, atol=1e-6)
    np.testing.assert_allclose(function.decision_function(x), want, atol=1e-6)


def test_a_jax_function_of_two_rows_is_a_kernel(x64):
    x, y = (jnp.asarray(a) for a in binary(100))
    config = svm.Config(lambda a, b: jnp.dot(a, b))
    got = svm.decision(svm.fit(x, y, config=config)[0], x)
    want = svm.decision(svm.fit(x, y, config=svm.Config("linear"))[0], x)
    np.testing.assert_allclose(got, want, atol=1e-6)


@pytest.mark.parametrize("loss", ["squared_hinge", "hinge"])
def test_linear_svc_is_liblinears(loss):
    x, y = binary(200, n_classes=3)
    ours = jf.LinearSVC(loss=loss, C=0.1, tol=1e-7, max_iter=10_000).fit(x, y)
    theirs = sk.LinearSVC(loss=loss, C=0.1, tol=1e-9, max_iter=100_000).fit(x, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-4)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-4)


# --- where it is hard -------------------------------------------------------------------------


@pytest.mark.parametrize("C", [1e-6, 1e6])
def test_extreme_penalties(C):
    x, y = binary(120)
    ours, theirs = (m.SVC(C=C).fit(x, y) for m in (jf, sk))
    assert ours.fit_status_ == 0
    np.testing.assert_allclose(ours.decision_function(x), theirs.decision_function(x), atol=5e-3)


def test_features_of_ten_thousand():
    x, y = binary(200)
    x = (1e4 + 100 * x).astype(np.float32)
    ours, theirs = jf.SVC().fit(x, y), sk.SVC().fit(x.astype(float), y)
    assert (ours.predict(x) == theirs.predict(x)).all()
    scaled = 1e4 * x / np.abs(x).max()
    assert jf.SVC(kernel="linear", C=1e-6).fit(scaled, y).fit_status_ == 0


def test_repeated_rows_with_opposite_labels():
    x = np.repeat([[0.0], [1.0], [2.0]], 20, axis=0)
    y = np.resize([0, 1], 60)
    model = jf.SVC(C=100.0).fit(x, y)
    assert model.fit_status_ == 0
    assert np.abs(model.decision_function(x)).max() <= 1 + TOL


def test_constant_features_say_nothing():
    model = jf.SVC().fit(np.ones((20, 3)), np.resize([0, 0, 0, 1], 20))
    assert model.fit_status_ == 0
    assert (model.predict(np.ones((2, 3))) == 0).all()


def test_rows_that_are_all_at_their_bounds_leave_the_middle():
    x, y = np.array([[-2, 0], [-1, -1], [0, -2], [0, 2], [1, 1], [2, 0]]), [0, 0, 0, 1, 1, 1]
    for ours, theirs in ((jf.SVC, sk.SVC), (jf.SVR, sk.SVR)):
        options = {"kernel": "linear", "C": 0.01}
        model, libsvm = ours(**options).fit(x, y), theirs(**options).fit(x, y)
        np.testing.assert_allclose(model.intercept_, libsvm.intercept_, atol=1e-9)


def test_two_rows_suffice():
    model = jf.SVC(kernel="linear", C=10.0).fit([[0.0], [1.0]], ["a", "b"])
    np.testing.assert_allclose(model.decision_function([[0.0], [1.0]]), [-1, 1], atol=1e-6)


def test_many_classes():
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(22), 8)
    x = rng.normal(size=(22, 5))[y] + 0.2 * rng.normal(size=(len(y), 5))
    ours, theirs = jf.SVC().fit(x, y), sk.SVC().fit(x, y)
    assert (ours.predict(x) == theirs.predict(x)).mean() >= 0.999
    assert ours.n_iter_.shape == (231,)


def test_one_class_is_an_error():
    with pytest.raises(ValueError, match="one class"):
        jf.SVC().fit(np.ones((5, 1)), np.zeros(5))
    with pytest.raises(ValueError, match="same class"):
        jf.SVC().fit(np.ones((4, 1)), [0, 0, 1, 1], [1, 1, 0, 0])


def test_what_is_not_converged_says_by_how_much():
    x, y = binary(300)
    with pytest.warns(ConvergenceWarning, match=r"max_iter=5.*The gap is .* where tol=0.001"):
        model = jf.SVC(C=100.0, max_iter=5).fit(x, y)
    assert model.fit_status_ == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"C": 0.0}, "C is 0.0, expected"),
        ({"kernel": "cubic"}, "kernel is 'cubic', expected"),
        ({"gamma": "big"}, "gamma is 'big', expected"),
        ({"tol": 0.0}, "tol is 0.0, expected"),
    ],
)
def test_bad_settings_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        jf.SVC(**options).fit(*binary(20))


def test_probabilities_are_calibrated():
    x, y = binary(200)
    with pytest.warns(FutureWarning, match="probability"):
        model = jf.SVC(probability=True).fit(x, y)
    share = model.predict_proba(x)
    np.testing.assert_allclose(share.sum(1), 1)
    assert (share.argmax(1) == model.predict(x)).mean() > 0.9


# --- derivatives, lanes and decisions of absent rows --------------------------------------------


def test_a_degenerate_active_set_has_no_derivative(x64):
    """No row is free: the intercept may lie anywhere between two values."""
    x, y = jnp.asarray([[0.0], [1.0]]), jnp.asarray([0, 1])

    def score(C):
        params, _ = svm.fit(x, y, hyper=svm.Hyper(C, 1.0))
        return svm.decision(params, x)[0]

    assert np.isnan(jax.grad(score)(1e-3))
    with pytest.raises(ValueError, match=r"derivative.*degenerate"):
        svm.require_derivatives(x, y, hyper=svm.Hyper(1e-3, 1.0))
    svm.require_derivatives(*map(jnp.asarray, binary(60)), hyper=svm.Hyper(1.0, 0.1, tol=1e-9))


def test_the_hinge_has_no_derivative():
    x, y = (jnp.asarray(a, d) for a, d in zip(binary(20), ("float32", "int32"), strict=True))
    config = jf.models.linear_svm.Config("hinge", fit_intercept=False)

    def first(x):
        return jf.models.linear_svm.fit(x, y, config=config)[0].coef[0]

    with pytest.raises(NotImplementedError, match="hinge"):
        jax.grad(first)(x)


def test_the_score_of_an_absent_row_is_its_decision_however_small(x64):
    x = jnp.append(4 * jnp.arange(80.0), 4 * jnp.arange(20.0) + 1.8)[:, None]
    y, present = jnp.arange(100) % 2, jnp.arange(100) < 80
    params, _, scores = svm.fit_with_scores(x, y, present, svm.Hyper(0.01, 10.0))
    got, want = (np.ravel(part)[80:] for part in (scores, svm.decision(params, x)))
    assert 0 < np.abs(want).max() < 1e-16  # and 1 - 1e-16 is 1
    np.testing.assert_allclose(got, want, rtol=1e-4)


def test_a_grid_over_folds_is_one_program(x64):
    x, y = (jnp.asarray(a) for a in binary(150))
    folds = jnp.arange(150)[None] % 3 != jnp.arange(3)[:, None]

    def one(C, fold):
        params, info, scores = svm.fit_with_scores(x, y, fold, svm.Hyper(C, 0.1))
        return scores, svm.decision(params, x), info.residual

    grid = jax.vmap(jax.vmap(one, (None, 0)), (0, None))(jnp.asarray([0.1, 100.0]), folds)
    np.testing.assert_allclose(grid[0], grid[1], atol=1e-6)
    assert grid[2].max() <= TOL
    want = sk.SVC(C=100.0, gamma=0.1).fit(x[folds[2]], y[folds[2]]).decision_function(x)
    np.testing.assert_allclose(grid[0][1, 2], want, atol=5e-3)


def test_rows_of_no_weight_may_hold_anything():
    x, y = binary(200)
    weight = np.resize([0.0, 1.0, 2.0], 200)
    want = jf.SVC().fit(x, y, weight).decision_function(x)
    model = jf.SVC().fit(np.where(weight[:, None] > 0, x, 1e300), y, weight)
    np.testing.assert_allclose(model.decision_function(x), want, atol=1e-5)
    assert (weight[model.support_] > 0).all()


def test_memory_grows_with_the_rows_and_not_with_their_square(x64):
    def temporary(n):
        x, y = jax.ShapeDtypeStruct((n, 20), "float32"), jax.ShapeDtypeStruct((n,), "int32")
        return svm.fit.lower(x, y).compile().memory_analysis().temp_size_in_bytes

    few, many = temporary(25_000), temporary(50_000)
    assert many < 2.2 * few
    assert many < 4e8


def test_rows_on_several_devices_are_refused():
    x, y, weight = parallel.shard_rows(mesh := parallel.make_mesh(), np.ones((16, 2)), np.ones(16))
    with jax.set_mesh(mesh), pytest.raises(ValueError, match="inside a mesh of 8 devices"):
        svm.fit(x, y.astype(int), weight)
