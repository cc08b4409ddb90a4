"""Networks: layers, the training program, its loop and its checkpoints."""

import os
import re
import signal
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from pictures import pictures

from jaxfound import parallel
from jaxfound.nn import augment, checkpoint, loop, summary, train
from jaxfound.nn.cnn import CNN, Conv, convolve
from jaxfound.nn.stream import Stream
from jaxfound.nn.train import Config, Data, Hyper

KEY = jax.random.key(1)
CONFIG = Config(batch_size=16)


def network(dropout=0.2):
    return CNN((8, 8, 1), 3, channels=(4, 8), hidden=8, dropout=dropout, rngs=nnx.Rngs(0))


DATA = pictures()
fit = partial(loop.fit, network(), DATA, KEY, epochs=4, config=CONFIG, hyper=Hyper(1e-2))


def same(a, b):
    return all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a == b).all()), a, b)))


def assert_close(a, b, tolerance=1e-4):
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(left, right, rtol=tolerance, atol=tolerance)


# --- layers -----------------------------------------------------------------------------------


def test_the_lesson_network_has_its_layers_and_parameters(capsys):
    module = CNN(rngs=nnx.Rngs(0))
    summary(module, jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32))
    printed = capsys.readouterr().out
    for cell in ("(None, 26, 26, 32)", "(None, 5, 5, 64)", "(None, 3, 3, 64)", "36,928", "93,322"):
        assert cell in printed


@pytest.mark.parametrize("channels", [1, 3])
def test_the_product_is_the_convolution_and_so_are_its_slopes(channels, rng):
    x = jnp.asarray(rng.normal(size=(5, 9, 7, channels)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, channels, 4)), jnp.float32)

    def native(x, kernel):
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=layout)

    assert_close(convolve(x, kernel), native(x, kernel), 1e-5)
    for argument in (0, 1):
        slopes = [
            jax.grad(lambda *a, f=f: jnp.sin(f(*a)).sum(), argument)(x, kernel)
            for f in (convolve, native)
        ]
        assert_close(*slopes, 1e-4)


@pytest.mark.parametrize("kernel", [2, 3])
def test_same_padding_is_that_of_lax(kernel, rng):
    layer = Conv(2, 4, kernel, padding="same", rngs=nnx.Rngs(0))
    x, layout = jnp.asarray(rng.normal(size=(5, 9, 7, 2)), jnp.float32), ("NHWC", "HWIO", "NHWC")
    kernels = layer.kernel[...]
    want = jax.lax.conv_general_dilated(x, kernels, (1, 1), "SAME", dimension_numbers=layout)
    assert_close(layer(x), jax.nn.relu(want), 1e-5)


def test_a_group_of_convolutions_is_not_pooled_within(capsys):
    settings = {"channels": (4, (6, 6), 8), "padding": "same", "hidden": 5}
    summary(CNN((12, 12, 1), 3, **settings, rngs=nnx.Rngs(0)), jnp.zeros((1, 12, 12, 1)))
    printed = capsys.readouterr().out
    shapes = ["12, 12, 4", "6, 6, 4", "6, 6, 6", "6, 6, 6", "3, 3, 6", "3, 3, 8"]
    assert re.findall(r"None, (\d+, \d+, \d+)", printed) == shapes


def test_an_image_too_small_is_named():
    with pytest.raises(ValueError, match=r"image_shape is .*too small"):
        CNN((8, 8, 1), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"image_shape is .* 2 convolutions .* 0 poolings"):
        CNN((4, 4, 1), channels=((8, 8),), rngs=nnx.Rngs(0))


def test_an_unknown_padding_is_named():
    with pytest.raises(ValueError, match="padding is 'full', expected 'valid' or 'same'"):
        CNN(padding="full", rngs=nnx.Rngs(0))


def test_integers_and_floats_are_the_same_images():
    module = network()
    module.eval()
    floats = DATA.x.astype(jnp.float32) / 255
    assert_close(module(DATA.x), module(floats), 1e-6)


@pytest.mark.parametrize("change", [augment.flip, augment.shift, augment.flip_and_shift])
def test_augmented_images_keep_their_shape_and_differ(change):
    x = pictures(200).x
    changed = jax.jit(change)(KEY, x)
    assert (changed.shape, changed.dtype) == (x.shape, x.dtype)
    moved = np.asarray((changed != x).any((1, 2, 3)))
    assert 0.3 < moved.mean() < 1 or change is augment.shift
    assert same(changed, jax.jit(change)(KEY, x))


# --- the program ------------------------------------------------------------------------------


def drawn(weight, steps, batch_size=4, key=KEY):
    n = len(weight)
    data = Data(None, jnp.zeros(n, jnp.int32), jnp.asarray(weight, jnp.float32))
    rows = train._draw(key, data, jnp.asarray(steps), batch_size)[: steps * batch_size]
    return np.bincount(np.asarray(rows), minlength=n)


def test_equal_weights_draw_a_permutation():
    assert (drawn(np.ones(40), 10) == 1).all()
    assert set(drawn(np.ones(37), 10)) <= {1, 2}


def test_rows_are_drawn_as_often_as_they_weigh():
    weight = np.array([0, 1, 2, 0, 3, 1, 1, 0])
    assert (drawn(weight, 2) == weight).all()
    assert (drawn(weight * 1e-3, 2) == weight).all()
    counts = sum(drawn([0.5, 0.3, 0.2], 1, key=jax.random.key(i)) for i in range(300))
    np.testing.assert_allclose(counts / counts.sum(), [0.5, 0.3, 0.2], atol=0.02)


def test_an_absent_row_leaks_nowhere():
    x = DATA.x.astype(jnp.float32).at[5].set(jnp.nan) / 255
    data = Data(x, DATA.y, jnp.ones(70).at[5].set(0.0))
    trained = loop.fit(network(), data, KEY, epochs=2, config=CONFIG, validation=data)
    assert np.isfinite(trained.history["loss"] + trained.history["val_loss"]).all()


def test_it_learns_and_compiles_once():
    before = train.run._cache_size()
    trained = fit(epochs=10)
    fit(hyper=Hyper(2e-2, weight_decay=0.1, clip=1.0, label_smoothing=0.1))
    assert train.run._cache_size() - before <= 1
    scores = train.evaluate(trained.graph, trained.params, trained.rest, DATA, config=CONFIG)
    assert scores.accuracy > 0.9
    assert trained.history["loss"][-1] < trained.history["loss"][0] / 2


def test_a_step_is_that_of_optax():
    config = Config(batch_size=70, optimizer=optax.sgd)
    graph, state = train.start(network(0.0), KEY, config=config)

    def loss(params):
        logits = nnx.merge(graph, params, state.rest)(DATA.x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, DATA.y).mean()

    expected = jax.tree.map(lambda p, g: p - 0.5 * g, state.params, jax.grad(loss)(state.params))
    after = train.step(graph, state, DATA, Hyper(0.5), total=1, config=config)
    assert_close(after.params, expected, 1e-5)


def test_clipping_bounds_the_step_and_decay_spares_biases():
    config = Config(batch_size=70, optimizer=optax.sgd)
    graph, state = train.start(network(0.0), KEY, config=config)
    short = train.step(graph, state, DATA, Hyper(1.0, clip=0.01), total=1, config=config)
    move = jax.tree.map(jnp.subtract, short.params, state.params)
    np.testing.assert_allclose(optax.tree.norm(move), 0.01, rtol=1e-3)
    decayed = train.step(
        graph, state, DATA, Hyper(1.0, weight_decay=0.5, clip=0.0), total=1, config=config
    )
    halves = jax.tree.map(lambda p: p / 2 if p.ndim > 1 else p, state.params)
    assert_close(decayed.params, halves, 1e-6)


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (train.constant, [1, 1, 1]),
        (train.cosine, [1, 0.5, 0]),
        (train.one_cycle, [0, 0.8117, 0]),
    ],
)
def test_schedules(schedule, values):
    np.testing.assert_allclose(schedule(jnp.array([0, 0.5, 1])), values, atol=1e-4)


def test_mixed_precision_keeps_float32_weights_and_learns():
    trained = fit(epochs=10, config=Config(batch_size=16, mixed_precision=True))
    assert {p.dtype for p in jax.tree.leaves(trained.params)} == {jnp.dtype("float32")}
    assert trained.history["accuracy"][-1] > 0.7


def test_the_sigmoid_loss_is_that_of_two_classes():
    module = nnx.Linear(3, 1, rngs=nnx.Rngs(0))
    x = jax.random.normal(KEY, (64, 3))
    data = Data(x, (x[:, 0] > 0).astype(jnp.int32))
    config = Config("sigmoid", 16)
    trained = loop.fit(module, data, KEY, epochs=20, config=config, hyper=Hyper(0.1))
    assert trained.history["accuracy"][-1] > 0.95


def test_rows_over_a_mesh_train_the_same():
    with jax.set_mesh(parallel.make_mesh()):
        shared = fit()
    assert_close(shared.params, fit().params, 1e-3)


def test_training_lowers_for_every_platform():
    graph, state = train.start(network(), KEY, config=CONFIG)
    leaves, structure = jax.tree.flatten(state._replace(key=jax.random.key_data(KEY)))
    keys = [jnp.issubdtype(a.dtype, jax.dtypes.prng_key) for a in leaves]

    def go(leaves, data):
        own = [jax.random.wrap_key_data(a) if k else a for a, k in zip(leaves, keys, strict=True)]
        state = jax.tree.unflatten(structure, own)
        state = state._replace(key=jax.random.wrap_key_data(state.key))
        state = train.run(graph, state, data, 5, span=5, total=5, config=CONFIG)
        return jax.tree.leaves(state.params), state.sums

    leaves = [jax.random.key_data(a) if k else a for a, k in zip(leaves, keys, strict=True)]
    platforms = ("cpu", "cuda", "tpu")
    exported = jax.export.export(jax.jit(go), platforms=platforms)(leaves, DATA)
    assert exported.platforms == platforms


# --- the loop ---------------------------------------------------------------------------------


def test_the_module_stays_as_it_was():
    module = network()
    before = nnx.state(module, nnx.Param)
    before = jax.tree.map(jnp.copy, before)
    loop.fit(module, DATA, KEY, epochs=1, config=CONFIG)
    assert same(before, nnx.state(module, nnx.Param))


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path):
    fit(epochs=2, directory=tmp_path)
    with pytest.raises(FloatingPointError, match=r"at step 12, in epoch 3.*learning rate"):
        fit(epochs=4, hyper=Hyper(1e30), directory=tmp_path)
    assert len(fit(epochs=2, directory=tmp_path).history["loss"]) == 2


def test_patience_ends_the_run_and_keeps_the_best():
    test = pictures(60, seed=1)
    trained = fit(epochs=60, hyper=Hyper(0.1), validation=test, patience=3)
    losses = trained.history["val_loss"]
    assert len(losses) == int(np.argmin(losses)) + 4 < 60
    scores = train.evaluate(trained.graph, trained.params, trained.rest, test, config=CONFIG)
    np.testing.assert_allclose(scores.loss, min(losses), rtol=1e-5)


def test_patience_needs_validation():
    with pytest.raises(ValueError, match="patience is 3, but validation is None"):
        fit(patience=3)


@pytest.mark.parametrize("weight", [None, np.resize([0.0, 1.0, 1.0], 70)])
def test_a_stream_sees_every_row_in_parts(weight):
    data = Stream(np.asarray(DATA.x), np.asarray(DATA.y), weight, rows=40)
    parts = list(loop.parts(data, KEY, 0, CONFIG))
    assert {len(part.y) for part in parts} == {32}
    seen = np.concatenate([part.x for part in parts])
    keep = np.ones(70, bool) if weight is None else weight > 0
    expected = {row.tobytes() for row in data.x[keep]}
    assert {row.tobytes() for row in seen} == expected
    trained = loop.fit(network(), data, KEY, epochs=12, config=CONFIG, hyper=Hyper(1e-2))
    assert trained.history["accuracy"][-1] > 0.8


# --- checkpoints ------------------------------------------------------------------------------


def test_a_run_that_goes_on_has_the_bits_of_one_that_never_stopped(tmp_path):
    whole = fit()
    fit(epochs=2, directory=tmp_path)
    resumed = fit(directory=tmp_path)
    assert same(whole.state, resumed.state)
    assert whole.history == resumed.history


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from test_nn import fit
fit(epochs=400, directory={directory!r})
"""


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_to_the_same_bits(tmp_path):
    code = KILLED.format(tests=str(Path(__file__).parent), directory=str(tmp_path))
    running = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[1])
    while not any(path.name.isdigit() and int(path.name) > 2 for path in tmp_path.iterdir()):
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    epochs = max(int(path.name) for path in tmp_path.iterdir() if path.name.isdigit()) + 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the last one may lack its notes
        resumed = fit(epochs=epochs, directory=tmp_path)
    assert same(resumed.state, fit(epochs=epochs).state)


@pytest.mark.parametrize("harm", ["cut", "changed", "removed"])
def test_a_torn_checkpoint_is_passed_over_and_said_so(tmp_path, harm):
    tree = {"a": jnp.arange(20_000.0), "key": KEY}
    for number in (1, 2):
        checkpoint.save(tmp_path, number, tree, {"number": number})
    victim = max((tmp_path / "2" / "arrays").rglob("*"), key=lambda path: path.stat().st_size)
    contents = bytearray(victim.read_bytes())
    contents[len(contents) // 2] ^= 1
    victim.write_bytes(contents if harm == "changed" else contents[:99])
    if harm == "removed":
        victim.unlink()
    with pytest.warns(UserWarning, match=r"Checkpoint 2 .* is torn and passed over"):
        found = checkpoint.load(tmp_path, tree)
    assert found is not None
    assert found.notes == {"number": 1}
    assert same(found.tree, tree)
    checkpoint.save(tmp_path, 2, tree, {"number": 2})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = checkpoint.load(tmp_path, tree)
    assert again is not None
    assert again.notes == {"number": 2}


def test_a_full_disk_is_a_sentence_and_the_last_checkpoint_stays(tmp_path, monkeypatch):
    tree = jnp.zeros(100_000)
    checkpoint.save(tmp_path, 1, tree, {})
    full = os.statvfs_result((4096, 4096, 10**6, 10, 10, 10**6, 10**5, 10**5, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    with pytest.raises(OSError, match=r"could not be written .* 40 KiB free .* are whole"):
        checkpoint.save(tmp_path, 2, tree, {})
    monkeypatch.undo()
    found = checkpoint.load(tmp_path, tree)
    assert found is not None
    assert same(found.tree, tree)


def test_checkpoints_of_another_network_are_refused(tmp_path):
    fit(epochs=1, directory=tmp_path)
    other = CNN((8, 8, 1), 3, channels=(4, 4), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="checkpoints of another run"):
        loop.fit(other, DATA, KEY, epochs=1, config=CONFIG, directory=tmp_path)
