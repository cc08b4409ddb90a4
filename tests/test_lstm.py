"""The LSTM: Keras's layers and outputs, padding, the derivative of its loop, every platform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxfound.nn.lstm import LSTM, recur
from jaxfound.nn.summary import layers
from tests.keras_on_jax import keras

RNG = np.random.default_rng(0)


def plain(inputs, recurrent, present):
    h = c = jnp.zeros((inputs.shape[1], recurrent.shape[0]), inputs.dtype)
    states = []
    for z, there in zip(inputs, present, strict=True):
        i, f, g, o = jnp.split(z + jnp.matmul(h, recurrent, precision="highest"), 4, -1)
        kept = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jnp.where(there[:, None], jax.nn.sigmoid(o) * jnp.tanh(kept), h)
        c = jnp.where(there[:, None], kept, c)
        states.append(h)
    return jnp.stack(states)


def test_the_derivative_is_that_of_the_plain_loop():
    arrays = RNG.normal(size=(6, 3, 16)), RNG.normal(size=(4, 16))
    inputs, recurrent, pull = map(jnp.float32, (*arrays, RNG.normal(size=(6, 3, 4))))
    present = jnp.asarray(RNG.random((6, 3)) < 0.7)
    found, theirs = (
        jax.value_and_grad(lambda z, u, f=f: (f(z, u, present) * pull).sum(), (0, 1))
        for f in (recur, plain)
    )
    for a, b in zip(*(jax.tree.leaves(f(inputs, recurrent)) for f in (found, theirs)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", ["before", "behind"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_changes_nothing(side, bidirectional):
    module = LSTM(30, units=(5, 4), bidirectional=bidirectional, rngs=nnx.Rngs(0))
    x = RNG.integers(1, 30, (4, 6))
    zeros = [(0, 0), (3, 0) if side == "before" else (0, 3)]
    padded = module(jnp.asarray(np.pad(x, zeros)))
    np.testing.assert_allclose(padded, module(jnp.asarray(x)), atol=1e-6)


def test_the_layers_are_those_of_the_lesson():
    rows = layers(LSTM(100, rngs=nnx.Rngs(0)), jnp.ones((1, 10), jnp.int32))
    assert [row.parameters for row in rows if row.parameters] == [1600, 6272, 792, 25]


@pytest.mark.parametrize("bidirectional", [False, True])
def test_outputs_are_those_of_keras(bidirectional):
    kl = keras.layers
    lstm = kl.LSTM(32)
    reader = kl.Bidirectional(lstm) if bidirectional else lstm
    dense = [kl.Dense(24, activation="relu"), kl.Dense(1)]
    theirs = keras.Sequential([kl.Embedding(50, 16, mask_zero=True), reader, *dense])
    x = RNG.integers(1, 50, (7, 12)) * (np.arange(12) < RNG.integers(1, 13, (7, 1)))
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        expected = np.asarray(theirs(x))
    weights = iter([weight.value for weight in theirs.weights])
    module = LSTM(50, bidirectional=bidirectional, rngs=nnx.Rngs(0))
    module.embedding.table[...] = jnp.asarray(next(weights))
    for layer in [*module.forward, *module.backward]:
        for part in (layer.kernel, layer.recurrent, layer.bias):
            part[...] = jnp.asarray(next(weights))
    for layer in (module.hidden, module.out):
        layer.kernel[...], layer.bias[...] = (jnp.asarray(next(weights)) for _ in range(2))
    np.testing.assert_allclose(module(jnp.asarray(x)), expected, atol=1e-5)


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_lowers_for(platform):
    graph, params, rest = nnx.split(LSTM(20, rngs=nnx.Rngs(0)), nnx.Param, ...)

    def of_params(params, x):
        return jax.grad(lambda p: nnx.merge(graph, p, rest, copy=True)(x).sum())(params)

    words = jnp.ones((2, 5), jnp.int32)
    leaves, tree = jax.tree.flatten(params)
    flat = jax.jit(lambda leaves: jax.tree.leaves(of_params(tree.unflatten(leaves), words)))
    assert jax.export.export(flat, platforms=[platform])(leaves).mlir_module()
