"""Random changes of images in training, as `Config.augment` takes them: compiled with the step."""

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Key, Shaped

__all__ = ["flip", "flip_and_shift", "shift"]

MOST = 2  # pixels that an image is moved, each way


def flip(key: Key, x: Shaped[Array, "n h w c"]) -> Shaped[Array, "n h w c"]:
    """Half of the images, mirrored left to right."""
    mirrored = jax.random.bernoulli(key, 0.5, (len(x), 1, 1, 1))
    return jnp.where(mirrored, x[:, :, ::-1], x)


def shift(key: Key, x: Shaped[Array, "n h w c"]) -> Shaped[Array, "n h w c"]:
    """Every image moved by up to `MOST` pixels: a random crop of it in a frame of zeros."""
    n, h, w, c = x.shape
    framed = jnp.pad(x, ((0, 0), (MOST, MOST), (MOST, MOST), (0, 0)))
    corner = jax.random.randint(key, (n, 2), 0, 2 * MOST + 1)
    return jax.vmap(lambda image, at: jax.lax.dynamic_slice(image, (*at, 0), (h, w, c)))(
        framed, corner
    )


def flip_and_shift(key: Key, x: Shaped[Array, "n h w c"]) -> Shaped[Array, "n h w c"]:
    """`flip`, then `shift`."""
    first, second = jax.random.split(key)
    return shift(second, flip(first, x))
