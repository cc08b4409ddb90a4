"""Inside `compute_scope`, JAX computes with the dtype and on the device that the user chose."""

import contextlib
import functools
import importlib
import threading
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from threadpoolctl import ThreadpoolController

from jaxfound._config import settings

__all__ = ["compute_scope"]


@contextlib.contextmanager
def compute_scope(dtype: np.dtype) -> Iterator[None]:
    """Inside, `dtype` and the device of `config_context` are what JAX computes with."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_SINGLE_THREADED_LAPACK)
        stack.enter_context(jax.enable_x64(dtype == np.float64))
        if settings().device is not None:
            stack.enter_context(jax.default_device(settings().device))
        yield


class _SingleThreadedLapack:
    """Inside, by any number of threads of ours, LAPACK runs on one thread.

    Its own threads spin for a while after a factorisation, and XLA's next loop would wait for
    their core: a fit of 20k x 500 takes twice as long.
    """

    def __init__(self):
        self._lock, self._inside = threading.Lock(), 0
        self._limit: Any = None

    def __enter__(self):
        with self._lock:
            if self._inside == 0:
                self._limit = _blas().limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(self, *_):
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limit.restore_original_limits()


@functools.cache
def _blas():
    importlib.import_module("scipy.linalg.blas")  # what JAX calls must be loaded to be found
    return ThreadpoolController()


_SINGLE_THREADED_LAPACK = _SingleThreadedLapack()
