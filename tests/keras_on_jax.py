"""Keras on its JAX backend, for the tests that compare with it."""

import contextlib
import os
from collections.abc import Iterator

import jax

os.environ["KERAS_BACKEND"] = "jax"  # before its first import

import keras

__all__ = ["keras", "lenient"]


@contextlib.contextmanager
def lenient() -> Iterator[None]:
    """Keras leaves casts and broadcasts to JAX, which tests here forbid."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield
