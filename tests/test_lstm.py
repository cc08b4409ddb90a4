"""The network for texts: its layer against Keras and the formula, its weights, its program."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.experimental import rnn
from keras_on_jax import keras, lenient

from jaxfound.nn import keras_weights, loop, lstm, summary, train
from jaxfound.nn.cnn import CNN
from jaxfound.nn.lstm import LSTM, Recurrent, from_the_start

# Keras's own arrays, when it writes them.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TOKENS = np.array([[3, 5, 2, 0, 0, 0], [1, 0, 0, 0, 0, 0], [4, 4, 1, 2, 5, 3], [0, 0, 0, 0, 0, 0]])
SHAPES = {"plain": {}, "stacked": {"units": (5, 4)}, "both ways": {"bidirectional": True}}


def network(vocabulary=6, **options):
    return LSTM(vocabulary, embedding=3, hidden=7, rngs=nnx.Rngs(0), **options)


def twin(vocabulary=6, width=3, units=(32,), hidden=7, n_out=1, bidirectional=False):
    layers = keras.layers
    recurrent = [layers.LSTM(u, return_sequences=i < len(units) - 1) for i, u in enumerate(units)]
    if bidirectional:
        recurrent = [layers.Bidirectional(layer) for layer in recurrent]
    return keras.Sequential(
        [
            layers.Input((None,), dtype="int32"),
            layers.Embedding(vocabulary, width, mask_zero=True),
            *recurrent,
            layers.Dense(hidden, activation="relu"),
            layers.Dense(n_out),
        ]
    )


def by_formula(inputs, recurrent):
    def step(carry, now):
        h, c = carry
        i, f, g, o = jnp.split(now + h @ recurrent, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zero = jnp.zeros((inputs.shape[1], recurrent.shape[0]))
    return jax.lax.scan(step, (zero, zero), inputs)[1]


def test_the_lesson_network_has_its_layers_and_parameters(capsys):
    module = LSTM(100, rngs=nnx.Rngs(0))
    summary(module, jnp.zeros((1, 10), int))
    assert sum(p.size for p in jax.tree.leaves(nnx.state(module, nnx.Param))) == 8_689
    shown = capsys.readouterr().out
    for row in ("1,600", "6,272", "792", "25", "8,689"):
        assert row in shown


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("padding", ["post", "pre"])
def test_outputs_are_those_of_keras_with_its_weights(shape, padding, tmp_path):
    with lenient():
        theirs = twin(**SHAPES[shape])
        theirs.save_weights(tmp_path / "a.weights.h5")
    module = network(**SHAPES[shape])
    keras_weights.load(tmp_path / "a.weights.h5", module)
    tokens = (
        TOKENS
        if padding == "post"
        else np.array([np.roll(row, (row == 0).sum()) for row in TOKENS])
    )
    tokens = tokens[:3]  # Keras's own backward pass over a text without tokens is undefined
    keras_weights.save(tmp_path / "b.weights.h5", module)
    with lenient():
        again = twin(**SHAPES[shape])
        again.load_weights(tmp_path / "b.weights.h5")
        expected, repeated = theirs(tokens), again(tokens)
    np.testing.assert_allclose(module(jnp.asarray(tokens)), expected, atol=1e-5)
    np.testing.assert_allclose(repeated, expected, atol=1e-6)


def test_the_network_for_images_is_read_from_an_archive(tmp_path):
    layers = keras.layers
    x = np.random.default_rng(0).random((3, 12, 12, 1), np.float32)
    with lenient():
        theirs = keras.Sequential(
            [
                layers.Input((12, 12, 1)),
                layers.Conv2D(4, 3, activation="relu"),
                layers.MaxPooling2D(),
                layers.Conv2D(6, 3, activation="relu"),
                layers.Flatten(),
                layers.Dense(5, activation="relu"),
                layers.Dense(3),
            ]
        )
        theirs.save(tmp_path / "a.keras")
        expected = theirs(x)
    module = CNN((12, 12, 1), 3, channels=(4, 6), hidden=5, rngs=nnx.Rngs(0))
    keras_weights.load(tmp_path / "a.keras", module)
    np.testing.assert_allclose(module(jnp.asarray(x)), expected, atol=1e-5)


def test_files_of_other_networks_are_refused_and_change_nothing(tmp_path):
    with lenient():
        twin(width=4).save_weights(tmp_path / "a.weights.h5")
    module = network()
    before = jax.tree.map(jnp.copy, nnx.state(module, nnx.Param))
    with pytest.raises(ValueError, match=r"expected dense .* embedding \[\(6, 3\)\]"):
        keras_weights.load(tmp_path / "a.weights.h5", module)
    for a, b in zip(
        jax.tree.leaves(before), jax.tree.leaves(nnx.state(module, nnx.Param)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    (tmp_path / "torn.weights.h5").write_bytes(b"torn")
    with pytest.raises(ValueError, match="torn"):
        keras_weights.load(tmp_path / "torn.weights.h5", module)
    with pytest.raises(FileNotFoundError, match="is not there"):
        keras_weights.load(tmp_path / "none.weights.h5", module)
    with pytest.raises(ValueError, match=r"ends in .weights.h5"):
        keras_weights.save(tmp_path / "a.h5", module)


def test_slopes_are_those_of_the_formula(x64):
    rng = np.random.default_rng(0)
    inputs, recurrent = (jnp.asarray(rng.normal(size=s)) for s in ((7, 2, 12), (3, 12)))
    weights = jnp.asarray(rng.normal(size=(7, 2, 3)))

    def ours(inputs, recurrent):
        return (weights * lstm._recur(lstm._shared(inputs), lstm._shared(recurrent))).sum()

    def theirs(inputs, recurrent):
        return (weights * by_formula(inputs, recurrent)).sum()

    ours, theirs = (jax.value_and_grad(f, (0, 1))(inputs, recurrent) for f in (ours, theirs))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_padding_changes_nothing(shape):
    module = network(**SHAPES[shape])
    short, long = jnp.asarray(TOKENS[:2, :3]), jnp.asarray(TOKENS[:2])
    np.testing.assert_allclose(module(short), module(long), atol=1e-6)
    moved, lengths = from_the_start(jnp.asarray([[0, 2, 0, 3], [0, 0, 0, 0]]))
    np.testing.assert_array_equal(moved.T, [[2, 3, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(lengths, [2, 0])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_small_vocabulary_is_projected_once(shape):
    module = network(**SHAPES[shape])
    few = jnp.asarray(TOKENS[:1, :5])
    assert not lstm._many(few, module.embedding.table)
    many = jnp.tile(few, (2, 1))
    assert lstm._many(many, module.embedding.table)
    np.testing.assert_allclose(module(many)[:1], module(few), atol=1e-6)


def test_cudnn_gets_the_weights_as_it_reads_them():
    layer = Recurrent(3, 4, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (5, 2, 3))
    weights = lstm._packed(layer.kernel[...], layer.recurrent[...], layer.bias[...])
    unpacked = rnn.unpack_lstm_weights(weights, 3, 4, 1, False)
    zero, lengths = jnp.zeros((1, 2, 4)), jnp.full(2, 5, jnp.int32)
    with lenient():
        theirs, *_ = rnn.lstm_ref(
            *(x.swapaxes(0, 1), zero, zero, *unpacked, lengths, 3, 4, 1, 0.0, False)
        )
    np.testing.assert_allclose(layer(x, lengths), theirs.swapaxes(0, 1), atol=1e-5)


def test_training_learns_and_lowers_everywhere():
    rng = np.random.default_rng(0)
    tokens = rng.integers(2, 20, (120, 8))
    y = rng.integers(0, 2, 120)
    tokens[np.arange(120), rng.integers(0, 8, 120)] = np.where(y, 1, 2)
    tokens[(tokens == 1) & (y[:, None] == 0)] = 3
    data = train.Data(jnp.asarray(tokens), jnp.asarray(y, jnp.int32))
    config = train.Config(loss="sigmoid", batch_size=20)
    module = LSTM(20, units=(8,), rngs=nnx.Rngs(0))
    options = {"epochs": 40, "hyper": train.Hyper(2e-2), "config": config}
    trained = loop.fit(module, data, jax.random.key(0), **options)
    assert trained.history["accuracy"][-1] > 0.95
    graph, state = train.start(module, jax.random.key(0), config=config)
    run = partial(train.run, graph, config=config)
    platforms = ["cpu", "cuda", "tpu"]
    flat, tree = jax.tree.flatten((state._replace(key=jax.random.key_data(state.key)), data))

    def call(*flat):
        state, data = tree.unflatten(flat)
        state = state._replace(key=jax.random.wrap_key_data(state.key))
        return jax.tree.leaves(run(state, data, 6, span=6, total=6).params)

    exported = jax.export.export(jax.jit(call), platforms=platforms)(*flat)
    assert exported.platforms == tuple(platforms)
