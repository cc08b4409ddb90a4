"""Keras on its JAX backend, for the tests that compare with it."""

import os

os.environ["KERAS_BACKEND"] = "jax"  # before its first import

import keras

__all__ = ["keras"]
