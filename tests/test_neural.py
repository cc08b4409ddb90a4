"""The networks as estimators: scikit-learn's habits, and what images bring."""

import pickle
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score, learning_curve
from sklearn.utils.estimator_checks import (
    check_do_not_raise_errors_in_init_or_set_params,
    check_estimator,
    check_estimator_repr,
    check_get_params_invariance,
    check_mixin_order,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
    check_valid_tag_types,
)

import jaxfound as jf
from jaxfound.nn import train

MODEL = jf.CNNClassifier(
    (4, 8), hidden=8, epochs=12, batch_size=16, learning_rate=1e-2, random_state=0
)
APPLYING = (
    check_do_not_raise_errors_in_init_or_set_params,
    check_estimator_repr,
    check_get_params_invariance,
    check_mixin_order,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
    check_valid_tag_types,
)


def pictures(n=90, seed=0):
    """Noise with a bright bar in one of three places, which is the label."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 3)
    x = rng.integers(0, 100, (n, 8, 8)).astype(np.uint8)
    x[np.arange(n), :, 2 + 2 * y] += 100
    return x, np.array(["left", "middle", "right"])[y]


X, Y = pictures()


@pytest.fixture(scope="module")
def fitted():
    return clone(MODEL).fit(X, Y)


def test_scikit_learn_checks_that_apply_to_images():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the others need tables: the tags say so
        check_estimator(MODEL)
    for check in APPLYING:
        check("CNNClassifier", clone(MODEL))


def test_it_learns(fitted):
    x, y = pictures(60, seed=1)
    assert fitted.score(x, y) > 0.9
    assert list(fitted.classes_) == ["left", "middle", "right"]
    assert fitted.input_shape_ == (8, 8, 1)
    assert {name: len(values) for name, values in fitted.history_.items()} == {
        "loss": 12,
        "accuracy": 12,
    }


def test_probabilities_are_numpy_for_numpy_and_jax_for_jax(fitted):
    ours = fitted.predict_proba(X)
    assert isinstance(ours, np.ndarray)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours.sum(1), 1, rtol=1e-5)
    theirs = fitted.predict_proba(jnp.asarray(X))
    assert isinstance(theirs, jax.Array)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    np.testing.assert_allclose(ours, fitted.predict_proba(X[..., None] / 255.0), atol=1e-5)


def test_the_same_seed_gives_the_same_bits_and_data_stays(fitted):
    before = X.copy()
    again = clone(MODEL).fit(X, Y)
    assert again.history_ == fitted.history_
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(X, before)


def test_x64_changes_nothing(fitted):
    with jax.enable_x64(True):
        again = clone(MODEL).fit(X.astype(float) / 255, Y)
        assert again.predict_proba(X).dtype == np.float32
    assert again.score(X, Y) > 0.9


def test_pickle(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    again.partial_fit(X, Y)
    assert len(again.history_["loss"]) == 13


def test_partial_fit_goes_on(fitted):
    model = clone(MODEL).partial_fit(X[:40], Y[:40], classes=np.unique(Y))
    for _ in range(12):
        model.partial_fit(X, Y)
    assert len(model.history_["loss"]) == 13
    assert model.score(X, Y) > 0.9


def test_changed_numbers_of_rows_and_rates_compile_once(fitted):
    before = train.run._cache_size()
    for n in (81, 85, 90):
        clone(MODEL).set_params(epochs=1, learning_rate=n / 1e5, clip_norm=n).fit(X[:n], Y[:n])
    assert train.run._cache_size() - before <= 1


def test_absent_rows_leave_no_trace():
    weight = np.ones(90)
    weight[:30] = 0
    labels = np.where(weight == 0, "absent", Y)
    model = clone(MODEL).fit(X, labels, sample_weight=weight)
    assert list(model.classes_) == ["left", "middle", "right"]
    assert model.score(X, Y) > 0.9


def test_class_weights_move_the_predictions():
    soft = clone(MODEL).set_params(epochs=3)
    plain = soft.fit(X, Y).predict_proba(X)[:, 0].mean()
    soft.set_params(class_weight={"left": 20.0, "middle": 1.0, "right": 1.0})
    assert soft.fit(X, Y).predict_proba(X)[:, 0].mean() > plain + 0.1


def test_cross_validation_and_learning_curve():
    short = clone(MODEL).set_params(epochs=8)
    assert cross_val_score(short, X, Y, cv=3).mean() > 0.6
    _, _, scores = learning_curve(short, X, Y, train_sizes=[20, 60], cv=3)
    assert scores.shape == (2, 3)
    assert np.isfinite(scores).all()


def test_patience_holds_rows_out():
    model = clone(MODEL).set_params(epochs=100, patience=2, validation_fraction=0.3)
    noisy = np.where(np.arange(90) % 3 == 0, "left", Y)  # what cannot be learnt is learnt by heart
    losses = model.fit(X, noisy).history_["val_loss"]
    assert len(losses) < 100
    assert len(losses) - 1 - np.argmin(losses) == 2


def test_a_fit_goes_on_from_its_checkpoint(tmp_path, fitted):
    clone(MODEL).set_params(epochs=5, checkpoint_dir=tmp_path).fit(X, Y)
    resumed = clone(MODEL).set_params(checkpoint_dir=tmp_path).fit(X, Y)
    np.testing.assert_array_equal(resumed.predict_proba(X), fitted.predict_proba(X))
    assert resumed.history_ == fitted.history_


@pytest.mark.parametrize("optimizer", [optax.sgd, optax.adamw])
def test_other_optimisers(optimizer):
    rate = 0.1 if optimizer is optax.sgd else 1e-2
    model = clone(MODEL).set_params(
        optimizer=optimizer, learning_rate=rate, schedule="one_cycle", augment="shift"
    )
    history = model.fit(X, Y).history_
    assert history["loss"][-1] < history["loss"][0]


BAD = {
    "rows of pixels": (lambda: (X.reshape(90, 64), Y), "X has shape .*expected images"),
    "no images": (lambda: (X[:0], Y[:0]), "X has shape .*at least one"),
    "negative": (lambda: (X.astype(int) - 50, Y), r"values from -50 .*0\.\.255"),
    "floats to 255": (lambda: (X.astype(float), Y), r"floats in \[0, 1\].*divide"),
    "NaN": (lambda: (np.where(X > 100, np.nan, 0.5), Y), "without NaN"),
    "words": (lambda: (X.astype(str), Y), "expected numbers"),
    "short y": (lambda: (X, Y[:-1]), "inconsistent"),
    "no y": (lambda: (X, None), "requires y"),
    "one class": (lambda: (X, np.full(90, "a")), "at least two"),
    "no weight": (lambda: (X, Y, np.zeros(90)), "non-zero"),
    "negative weight": (lambda: (X, Y, -np.ones(90)), "[Nn]egative"),
    "real labels": (lambda: (X, np.linspace(0, 1, 90)), "Unknown label type"),
    "small images": (lambda: (X[:, :4], Y), "image_shape is .*too small"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_is_named_and_leaves_nothing_fitted(name):
    spoil, message = BAD[name]
    model = clone(MODEL)
    with pytest.raises(ValueError, match=message):
        model.fit(*spoil())
    assert not [name for name in vars(model) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        model.predict(X)


SETTINGS = {
    "epochs": 0,
    "batch_size": 0,
    "learning_rate": 0.0,
    "weight_decay": -1.0,
    "clip_norm": 0.0,
    "label_smoothing": 2.0,
    "dropout": 1.0,
    "hidden": 0,
    "kernel_size": 0,
    "schedule": "fast",
    "augment": "rotate",
    "patience": 0,
    "optimizer": "adam",
    "mixed_precision": "yes",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_bad_settings_are_named(name):
    model = clone(MODEL).set_params(**{name: SETTINGS[name]})
    with pytest.raises((TypeError, ValueError), match=rf"{name} is .*expected"):
        model.fit(X, Y)
    assert not hasattr(model, "classes_")


def test_groups_of_padded_convolutions():
    model = clone(MODEL).set_params(channels=((4, 4), 8), padding="same", epochs=1).fit(X, Y)
    shapes = [model.weights()[f"convs.{i}.kernel"].shape[-2:] for i in range(3)]
    assert shapes == [(1, 4), (4, 4), (4, 8)]


def test_a_diverged_fit_leaves_nothing():
    model = clone(MODEL).set_params(learning_rate=1e30)
    with pytest.raises(FloatingPointError, match=r"not finite at step \d+, in epoch 1"):
        model.fit(X, Y)
    assert not hasattr(model, "classes_")


def test_labels_and_shapes_that_were_not_announced(fitted):
    with pytest.raises(ValueError, match="classes is None"):
        clone(MODEL).partial_fit(X, Y)
    with pytest.raises(ValueError, match=r"label .*'other'.*expected one of"):
        clone(fitted).partial_fit(X, np.where(Y == "left", "other", Y), classes=np.unique(Y))
    with pytest.raises(ValueError, match=r"rows of shape \(8, 6, 1\), expected \(8, 8, 1\)"):
        fitted.predict(X[:, :, :6])
