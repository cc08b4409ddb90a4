"""What the estimators compute with: precision and device, for everything inside a `with` block."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["Settings", "config_context", "settings"]


class Settings(NamedTuple):
    dtype: Any = None  # None: the dtype of the data
    device: Any = None  # None: where the data is, or JAX's default


_DEFAULTS = Settings()
_settings: contextvars.ContextVar[Settings] = contextvars.ContextVar("jaxfound_settings")


def settings() -> Settings:
    """The settings in force here."""
    return _settings.get(_DEFAULTS)


@contextlib.contextmanager
def config_context(*, dtype: Any = None, device: Any = None) -> Iterator[None]:
    """Overrides dtype and device of every estimator used inside.

    Args:
      dtype: "float32" or "float64", whatever the data has; TPUs have no fast float64.
      device: a `jax.Device`, or the name of a platform: "cpu", "gpu" or "tpu".

    Raises:
      ValueError: for another dtype, or a platform that this machine does not have.

    Example:
      >>> with jf.config_context(dtype="float32", device="cpu"):  # or "gpu", "tpu"
      ...     model = jf.Ridge().fit(X, y)
    """
    token = _settings.set(Settings(_dtype(dtype), _device(device)))
    try:
        yield
    finally:
        _settings.reset(token)


def _dtype(dtype):
    import numpy as np

    if dtype is None:
        return settings().dtype
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise ValueError(f"dtype is {dtype!r}, expected 'float32' or 'float64'.")
    return np.dtype(dtype)


def _device(device):
    import jax

    if device is None:
        return settings().device
    if not isinstance(device, str):
        return device
    try:
        return jax.devices(device)[0]
    except RuntimeError as error:
        here = sorted({d.platform for d in jax.devices()})
        raise ValueError(
            f"device is {device!r}, but this machine has {', '.join(here)}: "
            "take one of these, or install JAX for that platform."
        ) from error
