"""PCA: digits, signs, whitening, derivatives, batches, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import decomposition
from sklearn.exceptions import ConvergenceWarning

import jaxfound as jf
from jaxfound.data import images
from jaxfound.models import incremental_pca, pca
from jaxfound.numerics import evidence, principal

SOLVERS = ("auto", *pca.SOLVERS)
each_solver = pytest.mark.parametrize("solver", SOLVERS)


def spectrum(rng, n, d, singular):
    """Rows of mean zero with these singular values, and their right vectors."""
    left = rng.normal(size=(n, d))
    left = np.linalg.qr(left - left.mean(0))[0]
    right = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return left * singular @ right.T, right.T


def fitted(x, solver, k=None, weight=None, **options):
    hyper = pca.Hyper(tol=jnp.asarray(1e-11 if x.dtype == np.float64 else 2e-6, x.dtype))
    config = pca.Config(k, solver, **options)
    weight = None if weight is None else jnp.asarray(weight)
    return pca.fit(jnp.asarray(x), weight, hyper, config=config)


def reference(x, k):
    x = x.astype(np.float64)
    _, values, vectors = np.linalg.svd(x - x.mean(0), full_matrices=False)
    signs = np.sign(vectors[np.arange(len(vectors)), np.abs(vectors).argmax(1)])
    return (vectors * signs[:, None])[:k], (values**2 / (len(x) - 1))[:k]


# --- accuracy ---------------------------------------------------------------------------------


@each_solver
@pytest.mark.parametrize("shape", [(200, 6), (30, 50), (5000, 8)])
def test_every_solver_finds_the_singular_vectors(dtype, rng, solver, shape):
    x = spectrum(rng, *shape, np.geomspace(30, 1, shape[1]))[0] if shape[0] > shape[1] else None
    if x is None:
        x = rng.normal(size=shape) * np.geomspace(8, 1, shape[1])
    x = (x + 2).astype(dtype)
    vectors, variance = reference(x, 3)
    params, info = fitted(x, solver, 3)
    assert info.converged
    rtol = {"float32": 5e-4, "float64": 1e-8}[dtype]
    np.testing.assert_allclose(params.components, vectors, atol=rtol)
    np.testing.assert_allclose(params.variance, variance, rtol=rtol)
    total = x.astype(float).var(0, ddof=1).sum()
    np.testing.assert_allclose(params.total, total, rtol=rtol)
    rest = (total - variance.sum()) / (min(shape) - 3)
    np.testing.assert_allclose(params.noise, rest, rtol=100 * rtol)


@pytest.mark.parametrize("condition", [1e3, 1e6, 1e9, 1e12])
@pytest.mark.parametrize("solver", ["auto", "full"])
def test_small_variances_keep_their_digits(x64, rng, condition, solver):
    singular = np.geomspace(1, 1 / condition, 10)
    x, vectors = spectrum(rng, 300, 10, singular)
    params, _ = fitted(x, solver)
    eps = np.finfo(float).eps
    np.testing.assert_allclose(
        pca.singular_values(params), singular, rtol=50 * eps * condition + 1e-7 * (solver == "auto")
    )
    overlap = np.abs((params.components * vectors).sum(1))
    np.testing.assert_allclose(overlap, 1, atol=1e3 * eps * condition + 1e-9)


def test_covariance_loses_what_auto_notices(x64, rng):
    x, _ = spectrum(rng, 300, 10, np.geomspace(1, 1e-9, 10))
    names = [
        pca.SOLVERS[int(fitted(x, solver)[1].solver)] for solver in ("auto", "covariance_eigh")
    ]
    assert names == ["full", "covariance_eigh"]


@pytest.mark.parametrize("solver", ["auto", "covariance_eigh", "full", "randomized"])
def test_means_of_ten_thousand_in_float32(rng, solver):
    x = rng.normal(size=(20_011, 4)) * [4, 3, 2, 1] + 1e4
    x = x.astype(np.float32)
    vectors, variance = reference(x, 4)
    params, _ = fitted(x, solver)
    np.testing.assert_allclose(params.variance, variance, rtol=2e-5)
    np.testing.assert_allclose(params.components, vectors, atol=2e-4)
    np.testing.assert_allclose(params.mean, x.mean(0, dtype=float), rtol=1e-7)


def test_scores_about_a_large_mean_in_float32(rng):
    x = (rng.normal(size=(500, 4)) * [4, 3, 2, 1] + 1e4).astype(np.float32)
    model = jf.PCA(2).fit(x)
    want = (x.astype(float) - model.mean_) @ model.components_.T.astype(float)
    np.testing.assert_allclose(model.transform(x), want, atol=1e-4)


def test_few_of_many_columns(dtype, rng):
    """The search for a few eigenpairs, and its way out where the spectrum does not decay."""
    x, _ = spectrum(rng, 900, 300, np.geomspace(10, 0.1, 300))
    vectors, variance = reference(x, 12)
    params, _ = fitted(x.astype(dtype), "covariance_eigh", 12)
    rtol = {"float32": 2e-3, "float64": 1e-9}[dtype]
    np.testing.assert_allclose(params.components, vectors, atol=rtol)
    np.testing.assert_allclose(params.variance, variance, rtol=rtol)
    flat, _ = spectrum(rng, 900, 300, np.linspace(1.0001, 1, 300))
    params, info = fitted(flat.astype(dtype), "covariance_eigh", 12)
    assert info.converged
    np.testing.assert_allclose(params.variance, reference(flat, 12)[1], rtol=1e-4)


def test_powers_of_a_random_block_and_of_wide_rows(rng):
    x = rng.normal(size=(60, 400)) * np.geomspace(5, 0.1, 400)
    params, info = fitted(x.astype(np.float32), "randomized", 4, n_powers=6)
    assert info.n_iter == 7
    np.testing.assert_allclose(params.variance, reference(x, 4)[1], rtol=1e-2)
    _, info = fitted(rng.normal(size=(300, 200)).astype(np.float32), "randomized", 5, n_powers=0)
    assert not info.converged


def test_the_scatter_is_not_formed_for_very_wide_rows(rng, monkeypatch):
    monkeypatch.setattr(principal, "_MOST_COLUMNS", 10)
    jax.clear_caches()
    x = (rng.normal(size=(50, 30)) * np.geomspace(5, 0.1, 30)).astype(np.float32)
    params, _ = fitted(x, "randomized", 3, weight=jnp.ones(50))
    jax.clear_caches()
    np.testing.assert_allclose(params.components, reference(x, 3)[0], atol=1e-3)


# --- whitening, constant columns --------------------------------------------------------------


@pytest.mark.parametrize("solver", ["covariance_eigh", "full", "randomized"])
def test_whitening_is_bounded(dtype, rng, solver):
    """https://github.com/scikit-learn/scikit-learn/issues/29534"""
    x = (rng.normal(size=(200, 3)) @ rng.normal(size=(3, 8))).astype(dtype)
    model = jf.PCA(8, whiten=True, svd_solver=solver).fit(x)
    scores = model.transform(x)
    np.testing.assert_allclose(scores[:, :3].std(0, ddof=1), 1, rtol=1e-3)
    assert np.abs(scores[:, 3:]).max() < 1e-3
    np.testing.assert_allclose(model.inverse_transform(scores), x, atol=1e-3)


def test_constant_columns(dtype, rng):
    x = np.full((40, 3), 7.0)
    x[:, 1] = rng.normal(size=40)
    params, info = fitted(x.astype(dtype), "auto")
    assert info.converged
    np.testing.assert_allclose(np.abs(params.components[0]), [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(pca.ratio(params), [1, 0, 0], atol=1e-6)
    nothing, _ = fitted(np.full((40, 3), 7.0, dtype), "auto", whiten=True)
    assert np.isfinite(pca.ratio(nothing)).all()
    assert (np.asarray(nothing.scale) == 1).all()


# --- derivatives ------------------------------------------------------------------------------


@each_solver
def test_derivatives_of_all_that_is_fitted(x64, rng, solver):
    x = rng.normal(size=(25, 4)) * [4, 3, 2, 1]
    weight = rng.integers(0, 3, 25).astype(float)
    towards = rng.normal(size=x.shape), np.where(weight > 0, rng.normal(size=25), 0)

    def along(t):
        params, _ = fitted(x + t * towards[0], solver, 2, weight + t * towards[1], whiten=True)
        return params

    _, slope = jax.jvp(along, (0.0,), (1.0,))
    ahead, behind = along(1e-5), along(-1e-5)
    for name in pca.Params._fields:
        want = (getattr(ahead, name) - getattr(behind, name)) / 2e-5
        np.testing.assert_allclose(getattr(slope, name), want, rtol=2e-5, atol=1e-6, err_msg=name)


@each_solver
def test_a_tie_has_no_derivative(x64, solver):
    x = jnp.asarray(np.vstack([np.eye(4), -np.eye(4)]) * [3, 1, 1, 2])

    def entry(x, k):
        return fitted(x, solver, k)[0].components[0, 0]

    assert np.isfinite(jax.grad(entry)(x, 2)).all()
    with pytest.raises(ValueError, match=r"derivative of component 2.*equals another one"):
        jax.grad(entry)(x, 3)
    assert np.isnan(jax.jit(jax.grad(lambda x: fitted(x, solver, 3)[0].variance[2]))(x)).any()


def test_a_second_derivative_is_refused(x64, rng):
    x = jnp.asarray(rng.normal(size=(10, 3)))
    with pytest.raises(NotImplementedError, match="second derivative"):
        jax.hessian(lambda x: pca.fit(x, config=pca.Config(1))[0].components[0, 0])(x)


def test_more_components_than_there_are_is_an_error():
    with pytest.raises(ValueError, match="n_components is 4, expected 0 to min"):
        pca.fit(jnp.ones((5, 3)), config=pca.Config(4))


# --- estimators -------------------------------------------------------------------------------


@pytest.mark.parametrize("n_components", [None, 5, 0.9, 0.9999, "mle"])
def test_components_are_counted_as_scikit_learn_does(rng, n_components):
    x = rng.normal(size=(400, 12)) * np.append(np.linspace(9, 3, 5), np.ones(7))
    ours = jf.PCA(n_components).fit(x)
    theirs = decomposition.PCA(n_components).fit(x)
    assert ours.n_components_ == theirs.n_components_
    np.testing.assert_allclose(ours.components_, theirs.components_, atol=1e-9)
    np.testing.assert_allclose(ours.noise_variance_, theirs.noise_variance_, rtol=1e-9)
    np.testing.assert_allclose(ours.score(x), theirs.score(x), rtol=1e-9)


def test_evidence_is_highest_at_the_true_dimension(x64):
    variance = jnp.asarray([9.0, 7.0, 4.0, 1.1, 1.0, 0.9])
    assert evidence.most_likely_dimension(variance, 1000) == 3
    assert evidence.log_evidence(jnp.asarray([1.0, 1e-30, 1e-30]), 10)[1] == -np.inf


def test_an_unconverged_search_warns(rng):
    with pytest.warns(ConvergenceWarning, match="randomized"):
        jf.PCA(5, svd_solver="randomized", iterated_power=0).fit(rng.normal(size=(300, 200)))


@pytest.mark.parametrize("shape", [(300, 7), (12, 30)])
@pytest.mark.parametrize("whiten", [False, True])
def test_batches_equal_the_whole(dtype, rng, shape, whiten):
    x = (rng.normal(size=shape) * np.linspace(4, 1, shape[1]) + 50).astype(dtype)
    batches = jf.IncrementalPCA(4, whiten=whiten, batch_size=5).fit(x)
    parts = jf.IncrementalPCA(4, whiten=whiten).partial_fit(x[:9]).partial_fit(x[9:])
    whole = jf.PCA(4, whiten=whiten, svd_solver="full").fit(x)
    rtol = {"float32": 2e-3, "float64": 1e-10}[dtype]
    for model in (batches, parts):
        np.testing.assert_allclose(model.components_, whole.components_, atol=rtol)
        np.testing.assert_allclose(model.explained_variance_, whole.explained_variance_, rtol=rtol)
        np.testing.assert_allclose(model.noise_variance_, whole.noise_variance_, rtol=rtol)
        np.testing.assert_allclose(model.transform(x), whole.transform(x), atol=20 * rtol)
        np.testing.assert_allclose(model.var_, x.var(0, dtype=float), rtol=rtol)
        assert model.n_samples_seen_ == len(x)


def test_an_empty_batch_changes_nothing(x64, rng):
    x = jnp.asarray(rng.normal(size=(9, 3)))
    state = incremental_pca.update(incremental_pca.start(x), x)
    again = incremental_pca.update(state, x.at[0].set(jnp.nan), jnp.zeros(9))
    want, got = (incremental_pca.axes(s, 3) for s in (state, again))
    jax.tree.map(np.testing.assert_allclose, want, got)


BAD = {
    "n_components": (jf.PCA(7), "n_components=7 must be between 0 and min"),
    "svd_solver": (jf.PCA(svd_solver="magic"), "svd_solver is 'magic', expected"),
    "iterated_power": (jf.PCA(iterated_power=-1), "iterated_power is -1, expected"),
    "batch": (jf.IncrementalPCA(6), "n_components is 6, expected at most"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_settings_are_named(name, rng):
    estimator, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        estimator.fit(rng.normal(size=(20, 5)))


def test_one_row_has_no_variance(rng):
    with pytest.raises(ValueError, match="n_samples = 1"):
        jf.PCA().fit(rng.normal(size=(1, 3)))
    with pytest.raises(ValueError, match="weights count rows"):
        jf.PCA().fit(rng.normal(size=(4, 3)), sample_weight=np.full(4, 0.2))


def test_the_built_in_images():
    data = images.fashion_mnist()
    assert data.x_train.shape == (2000, 28, 28)
    assert np.bincount(data.y_test).tolist() == [50] * 10
    assert data.names[data.y_train.max()] == "Ankle boot"
