"""Sums over a source: the host reads batches ahead, and the device adds up their statistics."""

import contextlib
import operator
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jax.tree_util import Partial

from jaxfound._types import Array
from jaxfound.data.batches import Batch, Reader
from jaxfound.data.sources import Rows
from jaxfound.numerics.compensated import two_sum
from jaxfound.numerics.mesh import AXIS, shards
from jaxfound.numerics.reduce import mean_of_sample, row_sum

__all__ = ["Stream", "add_to", "added", "computed", "float_of", "means_of", "zeros_of"]


class Stream:
    """Folds over the batches of a source, on the device."""

    def __init__(self, rows: Rows, **options: Any):
        self.dtype = computed(rows.dtype)
        self.d, self._passes = rows.shape[1], 0
        self._reader = Reader(rows, self.dtype, multiple=shards(), **options)

    @property
    def n(self) -> int:
        """The number of rows, once there was a pass."""
        return int(self._reader.n or 0)

    def fold(self, step: Callable[..., Any], carry: Any) -> Any:
        """`carry = step(carry, weight, x[, y])` over all batches."""
        used = None
        with self._one_pass() as (batches, give_back):
            for batch in batches:
                carry = step(carry, *_placed(batch))
                if used is not None:  # one behind, so that the device always has something to do
                    jax.block_until_ready(used[0])
                    give_back(used[1])
                used = carry, batch.buffer
            return jax.block_until_ready(carry)

    def total(self, statistic: Partial) -> Any:
        """The sum of `statistic(weight, x[, y])` over all rows, as `row_sum` gives it of arrays."""

        def step(carry, *batch):
            carry = zeros_of(statistic, *batch) if carry is None else carry
            return add_to(carry, statistic, *batch)

        return jax.tree.map(operator.add, *self.fold(step, None))

    def means(self) -> tuple[Array, ...]:
        """Of x (and y) in the first batch: shifts, close to the means or among the rows.

        Sums about a shift that is a mean of rows lose at most a factor of the number of batches.
        """
        with self._reader.one_pass() as (batches, _):
            return jax.block_until_ready(means_of(*_placed(next(batches))))

    @contextlib.contextmanager
    def _one_pass(self) -> Iterator[Any]:
        self._passes += 1
        done = _Done(0)
        with self._reader.one_pass() as (batches, give_back), _bar(self._passes, self.n) as shown:
            try:
                yield done.counted(batches, shown), give_back
            except KeyboardInterrupt as error:
                of = f" of {self.n}" if self.n else ""
                error.add_note(f"Stopped in pass {self._passes}, after {done.rows}{of} rows.")
                raise


class _Done:
    """How many rows were handed out."""

    def __init__(self, rows: int):
        self.rows = rows

    def counted(self, batches: Iterator[Batch], shown: Callable[[int], None]) -> Iterator[Batch]:
        for batch in batches:
            yield batch
            self.rows += batch.n
            shown(self.rows)


@contextlib.contextmanager
def _bar(number, total):
    """A progress bar with rows a second, where there is a terminal to show it."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield lambda rows: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    begin = time.perf_counter()
    speed = TextColumn("{task.completed:,.0f} rows, {task.fields[speed]:,.0f}/s")
    columns = TextColumn("pass {task.description}"), BarColumn(), speed, TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(str(number), total=total or None, speed=0.0)

        def shown(rows):
            seconds = time.perf_counter() - begin
            progress.update(task, completed=rows, speed=rows / seconds)

        yield shown


def float_of(dtype: np.dtype) -> np.dtype:
    """What numbers of this kind are computed in."""
    return np.dtype(np.float32 if dtype in (np.float32, np.float16) else np.float64)


def computed(dtype: np.dtype) -> np.dtype:
    """The same, or what JAX has in its place here: float64 may be off."""
    return np.dtype(jax.dtypes.canonicalize_dtype(float_of(dtype)))


def _placed(batch):
    """Weight, x and y on the device, or over those of the mesh."""
    rows = [batch.weight, batch.x, *([] if batch.y is None else [batch.y])]
    where = NamedSharding(jax.sharding.get_mesh(), PartitionSpec(AXIS)) if shards() > 1 else None
    return [None if r is None else jax.device_put(r, where) for r in rows]


@jax.jit
def zeros_of(statistic: Partial, *batch: Any) -> Any:
    """Where the sums of a statistic begin: high and low parts."""
    like = jax.eval_shape(partial(row_sum, statistic), *batch)
    return (jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), like),) * 2


@jax.jit
def add_to(carry: Any, statistic: Partial, *batch: Any) -> Any:
    """Adds the statistic of a batch to high and low parts of its sums."""
    return added(carry, row_sum(statistic, *batch))


def added(carry: Any, sums: Any) -> Any:
    """Adds to high and low parts of sums, so that nothing is lost in rounding."""
    (high, tree), low = jax.tree.flatten(carry[0]), jax.tree.leaves(carry[1])
    sums = jax.tree.leaves(sums)
    pairs = [two_sum(a, b) for a, b in zip(high, sums, strict=True)]
    lows = [a + error for a, (_, error) in zip(low, pairs, strict=True)]
    return tree.unflatten([a for a, _ in pairs]), tree.unflatten(lows)


@jax.jit
def means_of(weight: Any, *rows: Any) -> tuple[Array, ...]:
    """Weighted means of a sample of each."""
    floats = [r for r in rows if jnp.issubdtype(r.dtype, jnp.floating)]
    return tuple(mean_of_sample(weight, r.reshape(len(r), -1)) for r in floats)
