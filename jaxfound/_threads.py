"""Work spread over the cores of the host. NumPy and JAX let go of the interpreter while they work.

XLA runs the body of a loop on one thread of a CPU, so that independent programs side by side use
the cores that one program leaves idle.
"""

import contextvars
import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["cores", "on_cores"]

_is_spread = contextvars.ContextVar("jaxfound_is_spread", default=False)


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_cores(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """`[function(item) for item in items]`, side by side, with the caller's settings of JAX."""
    if len(items) <= 1 or _is_spread.get():  # a thread that waits for its own pool never ends
        return [function(item) for item in items]
    import jax

    # JAX keeps these for every thread apart.
    config: Any = jax.config
    wide, device = config.jax_enable_x64, config.jax_default_device

    def one(item):
        _is_spread.set(True)
        with jax.enable_x64(wide), jax.default_device(device):
            return function(item)

    runs = [_pool().submit(contextvars.copy_context().run, one, item) for item in items]
    try:
        return [run.result() for run in runs]
    finally:  # of an error, or of Ctrl-C: what has not begun never does
        for run in runs:
            run.cancel()


@functools.cache
def _pool():
    return ThreadPoolExecutor(cores())
