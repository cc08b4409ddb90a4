"""Every test runs in strict JAX, on 8 CPU devices, with the package's annotations checked."""

import os
from pathlib import Path

import jax
import numpy as np
import pytest
from jaxtyping import install_import_hook

MOST_MAPS = 30_000  # of the 65,530 that Linux allows

# Compiling takes the time of these tests, and needs a third of it without LLVM's optimisation and
# with the older emitters. `XLA_FLAGS= pytest` compiles what users run.
QUICK = ["--xla_backend_optimization_level=0"]
if jax.__version_info__ < (0, 11):
    QUICK.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(QUICK))

# Before the package is imported. `metrics` is left out: its own checks of shapes are under test.
install_import_hook(["jaxfound.models", "jaxfound.numerics"], "beartype.beartype")


def pytest_configure(config):
    from jaxfound._cache import enable_compile_cache

    config.addinivalue_line(
        "filterwarnings",
        # A run that was killed leaves half an entry behind; JAX then compiles once more.
        "ignore:Error reading persistent compilation cache entry:UserWarning",
    )
    jax.config.update("jax_num_cpu_devices", 8)  # before any backend starts
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir("xla")))
    enable_compile_cache()


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """The dtype of a test, with float64 on where that needs it."""
    with jax.enable_x64(request.param == "float64"):
        yield request.param


@pytest.fixture
def x64():
    """Float64 on."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _few_programs():
    """Every program maps memory, and a process that has too many maps dies: let old ones go."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
