"""Gradients of cross-validated scores: certified by differences, and better than any grid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes

from jaxfound.model_selection import folds, hypergrad, search
from jaxfound.model_selection.pipeline import Pipeline
from jaxfound.models import logistic, pca, ridge, scaling, svm


def regression(n=120):
    x, y = load_diabetes(return_X_y=True)
    noise = np.random.default_rng(0).standard_normal((n, 6))
    x = np.concatenate([x[:n] / x[:n].std(0), noise], axis=1)
    return jnp.asarray(x), jnp.asarray((y[:n] - 150) / 80)


def classification(n=150):
    x, y = load_breast_cancer(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    return jnp.asarray(x[:n, :8]), jnp.asarray(y[:n], jnp.int32)


CHAIN = Pipeline((scaling, pca, logistic))
EXACT = logistic.Hyper(0.3, tol=1e-12)
CERTIFIED = {
    "one penalty": (ridge, regression, ridge.Hyper(3.0), ("l2",), "r2", None),
    "a penalty a feature": (
        *(ridge, regression, ridge.Hyper(np.linspace(1.0, 30.0, 16)), ("l2",)),
        *("neg_mean_squared_error", None),
    ),
    "logistic": (logistic, classification, EXACT, ("C",), "neg_log_loss", None),
    "pipeline": (
        *(CHAIN, classification, (None, pca.Hyper(), EXACT), ("2.C",), "neg_log_loss"),
        (None, pca.Config(n_components=3), logistic.Config()),
    ),
    "two numbers": (
        *(svm, regression, svm.Hyper(C=2.0, gamma=0.02, tol=1e-12), ("C", "gamma")),
        *("r2", svm.Config(task="regression")),
    ),
}


@pytest.mark.parametrize("name", CERTIFIED)
def test_the_gradient_is_certified_by_differences(x64, name):
    model, data, hyper, names, scoring, config = CERTIFIED[name]
    x, y = data()
    options = {"names": names, "scoring": scoring, "config": config}
    split = folds.k_fold(len(x), 3)
    found = hypergrad.certify(model, x, y, split, hyper, jax.random.key(0), **options)
    assert found.error < 1e-6
    assert np.abs(found.slopes).max() > 0


def test_a_penalty_a_feature_beats_the_best_single_one_and_finds_the_noise(x64):
    x, y = regression(400)
    split = folds.k_fold(len(x), 5)
    grid = search.grid(ridge, x, y, split, ridge.Hyper(jnp.logspace(-2, 4, 60)), scoring="r2")
    found = hypergrad.learn(
        *(ridge, x, y, split, ridge.Hyper(jnp.full(16, 10.0))), names=("l2",), scoring="r2"
    )
    assert found.score > grid.test["score"].mean(1).max() + 0.003
    assert np.median(found.hyper.l2[10:]) > 10 * np.median(found.hyper.l2[jnp.array([2, 3, 8])])


def test_one_penalty_is_that_of_the_grid(x64):
    x, y = regression()
    split = folds.k_fold(len(x), 4)
    found = hypergrad.learn(ridge, x, y, split, names=("l2",), scoring="r2", n_steps=150)
    around = ridge.Hyper(found.hyper.l2 * jnp.logspace(-0.3, 0.3, 7))
    scores = search.grid(ridge, x, y, split, around, scoring="r2").test["score"].mean(1)
    assert scores.argmax() == 3
    np.testing.assert_allclose(found.score, scores[3], rtol=1e-10)
    assert found.trajectory.shape == (151,)


def test_weights_folds_and_rates_are_traced(dtype):
    x, y = (part.astype(dtype) for part in regression())
    before = hypergrad.learn._cache_size()
    for seed, rate in ((0, 0.1), (1, 0.2)):
        order = jax.random.permutation(jax.random.key(seed), len(x))
        split = folds.Folds(*(mask[:, order] for mask in folds.k_fold(len(x), 4)))
        options = {"weight": jnp.ones(len(x), dtype) * (1 + seed), "learning_rate": rate}
        found = hypergrad.learn(
            ridge, x, y, split, names=("l2",), scoring="r2", n_steps=5, **options
        )
        assert found.hyper.l2.dtype == dtype
    assert hypergrad.learn._cache_size() == before + 1


def test_a_step_that_diverges_is_never_the_best(x64):
    x, y = regression()
    split = folds.k_fold(len(x), 4)
    options = {"names": ("l2",), "scoring": "r2", "n_steps": 3}
    found = hypergrad.learn(ridge, x, y, split, learning_rate=1e6, **options)
    assert np.isfinite(found.score)
    assert found.score >= found.trajectory[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ("C",)}, r"names is \('C',\), expected one or more of 'l2', 'tol'"),
        ({"names": ()}, "expected one or more of"),
        ({"scoring": "accuracy"}, "scoring is 'accuracy', expected a score with a slope"),
    ],
)
def test_what_has_no_gradient_is_a_sentence(x64, change, message):
    x, y = regression()
    options = {"names": ("l2",), "scoring": "r2"} | change
    with pytest.raises(ValueError, match=message):
        hypergrad.learn(ridge, x, y, folds.k_fold(len(x)), **options)


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_it_lowers_for_every_platform(platform):
    x, y = (part.astype(jnp.float32) for part in regression())
    options = {"names": ("l2",), "scoring": "r2", "config": ridge.Config(solver="cholesky")}
    lowered = hypergrad.learn.trace(ridge, x, y, folds.k_fold(len(x)), **options).lower(
        lowering_platforms=(platform,)
    )
    assert lowered.as_text()
