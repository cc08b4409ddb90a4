"""What a row of the table of benchmarks says."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Case", "Contender"]

Size = tuple[int, ...]


def _answer(result):
    return np.asarray(result)


def _relative(answer, exact):
    """The largest difference, relative to the largest entry."""
    return float(np.abs(answer - exact).max() / np.abs(exact).max())


@dataclasses.dataclass(frozen=True)
class Contender:
    """`make()` gives the function from the data to a result, which is timed; `answer` is not."""

    needs: str  # the module to import
    make: Callable[[], Callable[..., Any]]
    answer: Callable[[Any], Any] = _answer


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    suite: str
    data: Callable[..., tuple[Any, ...]]  # of a generator and a size
    contenders: dict[str, Contender]  # by backend, ours is "jax"
    exact: Callable[..., Any]  # of the data in float64
    tolerance: float  # of `distance`, in float32
    sizes: dict[str, tuple[Size, ...]]
    distance: Callable[[Any, Any], float] = _relative
    program: Callable[..., Any] | None = None  # jitted; its work is compared with the roof
    dtypes: tuple[str, ...] = ("float32", "float64")
    resident: bool = True  # whether ours takes arrays of the device
