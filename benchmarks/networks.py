"""Times training epochs beside PyTorch and Keras on JAX: `python -m benchmarks.networks`.

An epoch is forward, backward and Adam over all batches, by the same layers on the same arrays in
one process, in turns. First calls, compilation included, are kept apart. A rival that is not
installed is left out (`pip install torch keras`).
"""

import argparse
import importlib.util
import os
import statistics
import time

os.environ.setdefault("KERAS_BACKEND", "jax")  # read when Keras is imported

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from rich.console import Console
from rich.table import Table

from jaxfound.nn import cnn, lstm, train

__all__ = ["main"]

_PAUSE = 0.3  # seconds: threads of whoever ran before spin for a while, and would hold a core
BATCH = 128
TEXTS, WORDS = 64, 5000  # a batch of texts, and the words that there are


def main() -> None:
    parser = argparse.ArgumentParser(description="Time training epochs beside the rivals'.")
    parser.add_argument("--only", default="", help="names of cases, with commas")
    parser.add_argument("--steps", type=int, default=30, help="batches in an epoch")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    table = Table("network", "rival", "first", "epoch", "ratio")
    for name, rivals in CASES.items():
        if not options.only or name in options.only.split(","):
            for row in _race(rivals, options):
                table.add_row(name, *row)
    Console(width=100).print(table)


def _race(rivals, options):
    epochs = {n: make(options.steps) for n, (needs, make) in rivals.items() if _installed(needs)}
    first = {name: _seconds(epoch) for name, epoch in epochs.items()}
    times = {name: [] for name in epochs}
    for _ in range(options.repeats):
        for name, epoch in epochs.items():
            time.sleep(_PAUSE)
            times[name].append(_seconds(epoch))
    ours = statistics.median(times["jaxfound"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        yield name, f"{first[name]:.2f} s", f"{1e3 * median:.0f} ms", f"{median / ours:.2f}"


def _installed(library):
    return importlib.util.find_spec(library) is not None


def _seconds(epoch):
    start = time.perf_counter()
    epoch()
    return time.perf_counter() - start


# --- the convolutional network ----------------------------------------------------------------


def _pictures(steps):
    rng = np.random.default_rng(0)
    x = rng.random((BATCH * steps, 28, 28, 1), np.float32)
    return x, rng.integers(0, 10, len(x)).astype(np.int32)


def _cnn_jaxfound(steps):
    x, y = map(jnp.asarray, _pictures(steps))
    graph, state = train.start(cnn.CNN(rngs=nnx.Rngs(0)), jax.random.key(0))

    def epoch():
        nonlocal state
        state = train.run(
            *(graph, state, train.Data(x, y), int(state.step) + steps), span=steps, total=steps
        )
        jax.block_until_ready(state)

    return epoch


def _cnn_torch(steps):
    import torch
    from torch import nn

    x, y = _pictures(steps)
    x = torch.tensor(x.transpose(0, 3, 1, 2).copy())
    y = torch.tensor(y).long()
    layers = [(nn.Conv2d(a, b, 3), nn.ReLU()) for a, b in ((1, 32), (32, 64), (64, 64))]
    dense = (nn.Flatten(), nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10))
    pool = nn.MaxPool2d(2)
    model = nn.Sequential(*layers[0], pool, *layers[1], pool, *layers[2], *dense)
    adam = torch.optim.Adam(model.parameters(), 1e-3)

    def epoch():
        for a, b in zip(x.split(BATCH), y.split(BATCH), strict=True):
            adam.zero_grad()
            nn.functional.cross_entropy(model(a), b).backward()
            adam.step()

    return epoch


def _cnn_keras(steps):
    import keras
    from keras import layers

    x, y = _pictures(steps)
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
    return lambda: model.fit(x, y, batch_size=BATCH, epochs=1, verbose=0)


# --- the recurrent network --------------------------------------------------------------------


def _texts(steps):
    rng = np.random.default_rng(0)
    x = rng.integers(1, WORDS, (TEXTS * steps, 200)).astype(np.int32)
    return x, rng.integers(0, 2, len(x)).astype(np.int32)


def _lstm_jaxfound(steps):
    data = train.Data(*map(jnp.asarray, _texts(steps)))
    config = train.Config(loss="sigmoid", batch_size=TEXTS)
    module = lstm.LSTM(WORDS, rngs=nnx.Rngs(0))
    graph, state = train.start(module, jax.random.key(0), config=config)

    def epoch():
        nonlocal state
        stop = int(state.step) + steps
        state = train.run(graph, state, data, stop, span=steps, total=steps, config=config)
        jax.block_until_ready(state)

    return epoch


def _lstm_torch(steps):
    import torch
    from torch import nn

    x, y = _texts(steps)
    x, y = torch.tensor(x).long(), torch.tensor(y).float()
    embedding, reader = nn.Embedding(WORDS, 16), nn.LSTM(16, 32, batch_first=True)
    dense = nn.Sequential(nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 1))
    adam = torch.optim.Adam(nn.ModuleList([embedding, reader, dense]).parameters(), 1e-3)

    def epoch():
        for a, b in zip(x.split(TEXTS), y.split(TEXTS), strict=True):
            adam.zero_grad()
            logits = dense(reader(embedding(a))[0][:, -1])[:, 0]
            nn.functional.binary_cross_entropy_with_logits(logits, b).backward()
            adam.step()

    return epoch


def _lstm_keras(steps):
    import keras
    from keras import layers

    x, y = _texts(steps)
    model = keras.Sequential(
        [
            layers.Input((200,)),
            layers.Embedding(WORDS, 16, mask_zero=True),
            layers.LSTM(32),
            layers.Dense(24, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile("adam", "binary_crossentropy")
    return lambda: model.fit(x, y, batch_size=TEXTS, epochs=1, verbose=0)


# A rival: the library that it needs, and a function from the number of steps to an epoch.
CASES = {
    "cnn": {
        "jaxfound": ("jax", _cnn_jaxfound),
        "PyTorch": ("torch", _cnn_torch),
        "Keras-JAX": ("keras", _cnn_keras),
    },
    "lstm": {
        "jaxfound": ("jax", _lstm_jaxfound),
        "PyTorch": ("torch", _lstm_torch),
        "Keras-JAX": ("keras", _lstm_keras),
    },
}


if __name__ == "__main__":
    main()
