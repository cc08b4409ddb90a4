"""How a call is timed: cold, first and steady apart, rivals in random turns, everything blocked on.

- cold: the first call with no program at hand, so that all is traced and compiled;
- first: the same in a process that finds its programs in the persistent compile cache;
- steady: medians and quartiles of later calls.

Each timed call comes after a pause and untimed calls of its own: threads of whoever ran before
spin for a while and would hold a core, and an idle core takes a moment to wake up.
"""

import contextlib
import dataclasses
import gc
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from jaxfound._cache import enable_compile_cache

__all__ = [
    "Compiling",
    "Timing",
    "compiling",
    "device",
    "once",
    "peak_memory",
    "quietly",
    "race",
    "start_cold",
]

PAUSE = 0.3  # seconds
WARM_UP = 0.1
MOST_ROUNDS, LEAST_ROUNDS = 7, 3
_COMPILED = "/jax/core/compile/backend_compile_duration"

Call = Callable[..., Any]
CONFIG: Any = jax.config  # its options are made at run time, unseen by a type checker


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of steady calls."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    @property
    def iqr(self) -> float:
        low, high = np.percentile(self.seconds, [25, 75])
        return float(high - low)


@dataclasses.dataclass
class Compiling:
    """What XLA compiled, as `jax.monitoring` saw it."""

    seconds: float = 0.0
    count: int = 0


_watching: list[Compiling] = []


def _hear(event: str, seconds: float, **_: Any) -> None:
    if event == _COMPILED:
        for total in _watching:
            total.seconds += seconds
            total.count += 1


jax.monitoring.register_event_duration_secs_listener(_hear)  # once: listeners stay


@contextlib.contextmanager
def compiling() -> Iterator[Compiling]:
    """Counts compilations inside the scope."""
    total = Compiling()
    _watching.append(total)
    try:
        yield total
    finally:
        _watching.remove(total)


def once(call: Call, data: tuple[Any, ...]) -> tuple[float, Any]:
    """Seconds of one call, and its result: there before the clock stops."""
    start = time.perf_counter()
    result = jax.block_until_ready(call(*data))
    return time.perf_counter() - start, result


def start_cold(make: Callable[[], Call], data: tuple[Any, ...]) -> dict[str, float]:
    """Cold and first call, with what XLA compiled in the cold one."""
    with _own_cache(), compiling() as compiled:
        cold, _ = once(make(), data)
        cost = {"compile": compiled.seconds, "compiled": compiled.count}
        jax.clear_caches()
        first, _ = once(make(), data)
    return {"cold": cold, "first": first, **cost}


@contextlib.contextmanager
def _own_cache() -> Iterator[None]:
    """A persistent compile cache that starts empty, and no program in memory."""
    before = CONFIG.jax_compilation_cache_dir
    with tempfile.TemporaryDirectory() as folder:
        _use_cache(folder)
        enable_compile_cache()  # of programs of any size
        jax.clear_caches()
        try:
            yield
        finally:
            _use_cache(before)


def _use_cache(folder: str | None) -> None:
    jax.config.update("jax_compilation_cache_dir", folder)
    compilation_cache.reset_cache()  # it opened the directory before


def race(
    calls: dict[str, Call], data: dict[str, tuple[Any, ...]], *, budget: float, seed: int = 0
) -> dict[str, Timing]:
    """Times all calls in rounds, in a new random order each, until `budget` seconds are spent.

    Three rounds are made, unless they would take twice the budget, and seven are enough.
    """
    rng = np.random.default_rng(seed)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    start = time.perf_counter()
    for turn in range(MOST_ROUNDS):
        spent = time.perf_counter() - start
        if turn and spent > (budget if turn >= LEAST_ROUNDS else 2 * budget):
            break
        for name in rng.permutation(list(calls)):
            seconds[name].append(_steady(calls[name], data[name]))
    return {name: Timing(tuple(found)) for name, found in seconds.items()}


def _steady(call: Call, data: tuple[Any, ...]) -> float:
    time.sleep(PAUSE)
    end = time.perf_counter() + WARM_UP
    call(*data)
    while time.perf_counter() < end:
        call(*data)
    return once(call, data)[0]


def peak_memory(call: Call, data: tuple[Any, ...]) -> dict[str, int | None]:
    """Bytes that a call needs above what was there before, on the host and on the device.

    None where the system or the device does not say (a CPU device is the host).
    """
    gc.collect()
    reset = _reset_peak()
    before = _host("VmRSS")
    jax.block_until_ready(call(*data))
    host = max(_host("VmHWM") - before, 0) if reset else None
    stats = device().memory_stats() or {}
    return {"host": host, "device": stats.get("peak_bytes_in_use")}


def _reset_peak() -> bool:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _host(field: str) -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    (line,) = (line for line in lines if line.startswith(field))
    return 1024 * int(line.split()[1])


def device() -> jax.Device:
    """The device that computations go to."""
    (found,) = jnp.zeros(()).devices()
    return found


def quietly() -> warnings.catch_warnings:
    """A scope without warnings: rivals that stop early are judged by their answers."""
    return warnings.catch_warnings(action="ignore")
