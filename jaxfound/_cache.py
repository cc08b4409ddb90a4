"""The persistent compile cache: what one process has compiled, the next one loads."""

import os
from pathlib import Path
from typing import Any

__all__ = ["cache_contents", "default_cache_directory", "enable_compile_cache"]


def enable_compile_cache() -> str:
    """Keeps every compiled program on disk, and returns the directory.

    A directory that the user chose (`JAX_COMPILATION_CACHE_DIR`, or the JAX option) stays.
    """
    import jax  # here, so that the command line can print its help without it

    config: Any = jax.config  # its options are made at run time, unseen by a type checker
    if not config.jax_compilation_cache_dir:
        config.update("jax_compilation_cache_dir", str(default_cache_directory()))
    # JAX keeps only what took a second to compile; our programs are many and small.
    config.update("jax_persistent_cache_min_compile_time_secs", 0)
    config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return config.jax_compilation_cache_dir


def default_cache_directory() -> Path:
    """`$XDG_CACHE_HOME/jaxfound/xla`, by default under `~/.cache`."""
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    root = chosen if chosen.is_absolute() else Path.home() / ".cache"  # as the standard asks
    return root / "jaxfound" / "xla"


def cache_contents(directory: str) -> tuple[int, int]:
    """How many programs a cache on this machine's disk holds, and how many bytes they take."""
    sizes = [entry.stat().st_size for entry in Path(directory).glob("*-cache")]
    return len(sizes), sum(sizes)
