"""Times the same work done by us and by others, while computing it."""

from collections.abc import Callable, Mapping
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import jax

__all__ = ["WARM_CALLS", "Race", "Timed", "race"]

WARM_CALLS = 3


class Timed(NamedTuple):
    """What a call returned, and the seconds that it took."""

    value: Any
    cold: float  # the first call: JAX traces, and compiles or loads from its compile cache
    warm: float  # the median of the later calls


class Race(NamedTuple):
    ours: Timed
    theirs: Mapping[str, Timed]  # by the name of the rival


def race(ours: Callable[[], Any], theirs: Mapping[str, Callable[[], Any]]) -> Race:
    """Runs each function once cold and a few times warm, and keeps what it returned."""
    return Race(_timed(ours), {name: _timed(call) for name, call in theirs.items()})


def _timed(call: Callable[[], Any]) -> Timed:
    value, cold = _once(call)
    return Timed(value, cold, median(_once(call)[1] for _ in range(WARM_CALLS)))


def _once(call: Callable[[], Any]) -> tuple[Any, float]:
    start = perf_counter()
    value = jax.block_until_ready(call())  # JAX returns before it has computed
    return value, perf_counter() - start
