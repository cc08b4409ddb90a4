"""Prints a digest of a fitted forest: `python tree_digest.py DEVICES WAY`."""

import hashlib
import sys

import jax
import jax.numpy as jnp
import numpy as np

from jaxfound.models import forest, tree


def data(kind):
    """Whole numbers, whose bits no library of random numbers can change."""
    row, column = np.indices((96, 4))
    x = (row * 37 + column * 101 + row * column * 13) % 97 / 7
    y = (3 * x[:, 0] + x[:, 1] * x[:, 2] - x[:, 3]) % 11
    y = (y > 5) * 1 if kind == "gini" else y
    return x.astype(np.float32), y.astype(np.int32 if kind == "gini" else np.float32)


def digest(way):
    """Of every array of two forests, of classes and of targets."""
    found = hashlib.sha256()
    for kind in ("gini", "squared_error"):
        x, y = map(jnp.asarray, data(kind))
        trees = tree.Config(kind, 2 if kind == "gini" else (), max_features=2)
        for leaf in jax.tree.leaves(fitted(way, x, y, forest.Config(trees, n_trees=2))):
            found.update(np.asarray(leaf).tobytes())
    return found.hexdigest()


def fitted(way, x, y, config):
    key = jax.random.key(3)
    if way == "last device":
        x, y, key = jax.device_put((x, y, key), jax.devices()[-1])
    if way == "vmap":
        keys = jnp.stack([jax.random.key(4), key])
        both = jax.vmap(lambda key: forest.fit(x, y, None, key=key, config=config)[0])(keys)
        return jax.tree.map(lambda leaf: leaf[1], both)
    with jax.disable_jit(way == "python"):
        return forest.fit(x, y, None, key=key, config=config)[0]


if __name__ == "__main__":
    devices, way = int(sys.argv[1]), sys.argv[2]
    if devices:
        jax.config.update("jax_num_cpu_devices", devices)
    print(digest(way))
