"""Small pictures that a network learns in a moment, for the tests of networks."""

import jax.numpy as jnp
import numpy as np

from jaxfound.nn.train import Data

__all__ = ["pictures"]


def pictures(n=70, seed=0):
    """Noise with a bright bar in one of three places, which is the class."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = rng.integers(0, 100, (n, 8, 8, 1))
    x[np.arange(n), :, 2 + 2 * y] += 100
    return Data(jnp.asarray(x.astype(np.uint8)), jnp.asarray(y.astype(np.int32)))
