"""Training epochs of a network by ours, PyTorch and Keras on JAX: rivals for `cases.py`.

An epoch is forward, backward and Adam over all batches, by the same layers on the same arrays.
Each maker returns a function that trains one more epoch and returns how to guess classes, untimed;
what is right is who has learned.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # read when Keras is imported

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxfound.data import images
from jaxfound.nn import cnn, lstm, train

__all__ = [
    "cnn_jaxfound",
    "cnn_keras",
    "cnn_torch",
    "lstm_jaxfound",
    "lstm_keras",
    "lstm_torch",
    "pictures",
    "texts",
]

BATCH = 128
TEXTS, LENGTH, WORDS = 64, 200, 5000  # a batch of texts, and the words that there are


def pictures(rng, steps, batch):
    """Clothes of Fashion-MNIST, repeated to fill an epoch of `steps` batches."""
    data = images.fashion_mnist()
    rows = rng.permutation(steps * batch) % len(data.x_train)
    return data.x_train[rows, ..., None].astype(np.float32) / 255, data.y_train[rows].astype(
        np.int32
    )


def cnn_jaxfound():
    graph, state = train.start(cnn.CNN(rngs=nnx.Rngs(0)), jax.random.key(0))

    def epoch(x, y):
        nonlocal state
        steps = len(x) // BATCH
        rows = train.Data(jnp.asarray(x), jnp.asarray(y))
        until = int(state.step) + steps
        state = train.run(graph, state, rows, until, span=steps, total=steps)
        jax.block_until_ready(state)
        return lambda: np.asarray(train.predict(graph, state.params, state.rest, rows.x)).argmax(1)

    return epoch


def cnn_torch():
    import torch
    from torch import nn

    torch.manual_seed(0)  # of unlucky first weights one epoch makes nothing
    layers = [(nn.Conv2d(a, b, 3), nn.ReLU()) for a, b in ((1, 32), (32, 64), (64, 64))]
    dense = (nn.Flatten(), nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10))
    pool = nn.MaxPool2d(2)
    model = nn.Sequential(*layers[0], pool, *layers[1], pool, *layers[2], *dense)
    adam = torch.optim.Adam(model.parameters(), 1e-3)

    def epoch(x, y):
        x = torch.tensor(x.transpose(0, 3, 1, 2).copy())
        y = torch.tensor(y).long()
        for a, b in zip(x.split(BATCH), y.split(BATCH), strict=True):
            adam.zero_grad()
            nn.functional.cross_entropy(model(a), b).backward()
            adam.step()
        return lambda: model(x).argmax(1).numpy()

    return epoch


def cnn_keras():
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")

    def epoch(x, y):
        model.fit(x, y, batch_size=BATCH, epochs=1, verbose=0)
        return lambda: model.predict(x, verbose=0).argmax(1)

    return epoch


def texts(rng, steps, batch):
    """Words at random, then one that tells the class."""
    x = rng.integers(3, WORDS, (steps * batch, LENGTH)).astype(np.int32)
    y = rng.integers(0, 2, len(x)).astype(np.int32)
    x[:, LENGTH // 2 :] = 1 + y[:, None]
    return x, y


def lstm_jaxfound():
    config = train.Config(loss="sigmoid", batch_size=TEXTS)
    graph, state = train.start(lstm.LSTM(WORDS, rngs=nnx.Rngs(0)), jax.random.key(0), config=config)

    def epoch(x, y):
        nonlocal state
        steps, rows = len(x) // TEXTS, train.Data(jnp.asarray(x), jnp.asarray(y))
        until = int(state.step) + steps
        state = train.run(graph, state, rows, until, span=steps, total=steps, config=config)
        jax.block_until_ready(state)
        known = graph, state.params, state.rest
        return lambda: np.asarray(train.predict(*known, rows.x, config=config))[:, 0] > 0

    return epoch


def lstm_torch():
    import torch
    from torch import nn

    torch.manual_seed(0)  # of unlucky first weights one epoch makes nothing
    embedding, reader = nn.Embedding(WORDS, 16), nn.LSTM(16, 32, batch_first=True)
    dense = nn.Sequential(nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 1))
    adam = torch.optim.Adam(nn.ModuleList([embedding, reader, dense]).parameters(), 1e-3)

    def logits(x):
        return dense(reader(embedding(x))[0][:, -1])[:, 0]

    def epoch(x, y):
        x, y = torch.tensor(x).long(), torch.tensor(y).float()
        for a, b in zip(x.split(TEXTS), y.split(TEXTS), strict=True):
            adam.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(logits(a), b).backward()
            adam.step()
        return lambda: (logits(x) > 0).numpy()

    return epoch


def lstm_keras():
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            layers.Input((LENGTH,)),
            layers.Embedding(WORDS, 16, mask_zero=True),
            layers.LSTM(32),
            layers.Dense(24, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy")

    def epoch(x, y):
        model.fit(x, y, batch_size=TEXTS, epochs=1, verbose=0)
        return lambda: model.predict(x, verbose=0)[:, 0] > 0.5

    return epoch
