"""What numbers and times depend on: versions, devices, precision and the compile cache."""

from importlib.metadata import version
from typing import Any

import jax

from jaxfound import __version__
from jaxfound._cache import cache_contents

__all__ = ["NO_DEVICE", "compile_cache", "devices", "settings", "versions"]

# What JAX raises for a platform that is not there, the second if JAX_PLATFORMS names it.
NO_DEVICE = (RuntimeError, AssertionError)
CONFIG: Any = jax.config  # its options are made at run time, unseen by a type checker
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scikit-learn")


def versions() -> dict[str, str]:
    return {"jaxfound": __version__, **{package: version(package) for package in PACKAGES}}


def devices() -> str:
    """Every device that JAX computes on, equal ones counted."""
    try:
        kinds = [f"{device.platform} ({device.device_kind})" for device in jax.devices()]
    except NO_DEVICE as error:
        return f"none: {str(error) or 'JAX_PLATFORMS names what is not there'}"
    return ", ".join(f"{kinds.count(kind)} × {kind}" for kind in dict.fromkeys(kinds))


def settings() -> dict[str, str]:
    """The options of JAX that change a result or a time."""
    precision = CONFIG.jax_default_matmul_precision or "default (the device's fastest)"
    return {
        "devices": devices(),
        "default matmul precision": precision,
        "64-bit by default": "yes" if CONFIG.jax_enable_x64 else "no (local scopes only)",
    }


def compile_cache() -> str:
    """Where compiled programs are kept, and how many they are."""
    directory = CONFIG.jax_compilation_cache_dir
    if not directory:
        return "off"
    entries, size = cache_contents(directory)
    return f"{directory} ({entries} programs, {size / 1e6:.1f} MB)"
