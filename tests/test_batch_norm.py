"""Normalisation over the batch: against its formula, in predictions, and in runs that go on."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from pictures import pictures

import jaxfound as jf
from jaxfound.nn import keras_weights, loop, train
from jaxfound.nn.cnn import CNN, Conv, convolve

KEY = jax.random.key(0)
CONFIG = train.Config(batch_size=16)


def network():
    return CNN((8, 8, 1), 3, channels=(4, 8), hidden=8, batch_norm=True, rngs=nnx.Rngs(0))


def normalised(x, mean, variance):
    mean, variance = mean[None, None, None], variance[None, None, None]
    return jax.nn.relu((x - mean) / jnp.sqrt(variance + 1e-5))


def test_a_batch_is_normalised_by_itself_and_later_by_what_was_seen():
    layer = Conv(1, 4, 3, batch_norm=True, rngs=nnx.Rngs(0))
    x = 1 + 3 * jax.random.normal(KEY, (16, 8, 8, 1))
    plain = convolve(x, layer.kernel[...])
    mean, variance = plain.mean((0, 1, 2)), plain.var((0, 1, 2))
    layer.train()
    np.testing.assert_allclose(layer(x), normalised(plain, mean, variance), atol=1e-4)
    layer.eval()
    want = normalised(plain, 0.1 * mean, 0.9 + 0.1 * variance)  # from mean 0 and variance 1
    np.testing.assert_allclose(layer(x), want, atol=1e-4)


def test_a_prediction_does_not_depend_on_the_rows_beside_it():
    x, y = map(np.asarray, pictures()[:2])
    model = jf.CNNClassifier(
        (4, 8), hidden=8, batch_norm=True, epochs=12, batch_size=16, learning_rate=1e-2
    ).fit(x, y)
    assert model.score(x, y) > 0.9
    np.testing.assert_allclose(model.predict_proba(x)[:3], model.predict_proba(x[:3]), atol=1e-6)


def test_a_run_that_goes_on_has_the_bits_of_one_that_never_stopped(tmp_path):
    """What the layers have seen is in the checkpoint too."""
    fit = partial(loop.fit, network(), pictures(), KEY, config=CONFIG, hyper=train.Hyper(1e-2))
    whole = fit(epochs=3).state
    fit(epochs=2, directory=tmp_path)
    again = fit(epochs=3, directory=tmp_path).state
    for name in ("params", "rest"):
        same = jax.tree.map(jnp.array_equal, getattr(again, name), getattr(whole, name))
        assert all(jax.tree.leaves(same))


def test_keras_has_no_such_twin(tmp_path):
    with pytest.raises(ValueError, match="batch_norm"):
        keras_weights.save(tmp_path / "model.weights.h5", network())
