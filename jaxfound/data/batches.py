"""Rows in batches of one shape, read ahead of whoever uses them, by a thread.

The thread fills a few buffers in turn: whole ones, and a last one padded with rows of weight zero.
A buffer is filled again once its user has given it back. Nothing is copied twice, and a program
that takes a batch compiles once.
"""

import contextlib
import math
import queue
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxfound.data.files import FileRows
from jaxfound.data.sources import Block, Rows
from jaxfound.data.windows import aligned

__all__ = ["Batch", "Reader", "looked_through"]

_BATCH_BYTES = 2**25  # of x: a few hundredths of a second to read, and to use
_LEAST_ROWS, _MOST_ROWS = 2**10, 2**18  # of a batch
_BUFFERS = 4  # one being filled, two ahead, one in use
_CHUNK_BYTES = 2**21  # of x: read and looked at while it is in a cache
_PATIENCE = 10  # seconds for a thread to end, which may be waiting for the user's own blocks


class Batch(NamedTuple):
    x: np.ndarray  # [size d]
    y: np.ndarray | None  # [size] or [size k]
    weight: np.ndarray | None  # [size]; None if all rows are there with weight one
    n: int  # rows that are there; those behind them have weight zero
    buffer: Any  # what to give back


class _Buffer(NamedTuple):
    x: np.ndarray
    y: np.ndarray | None
    weight: np.ndarray


class Reader:
    """Reads `rows` in passes, and checks that every pass sees the same.

    Args:
      rows: the source.
      dtype: of x and the weights.
      y_dtype: of y; None to leave y where it is.
      allow_nan: whether NaN in x is a missing value.
      multiple: what the number of rows of a batch is a multiple of, for example of devices.
    """

    def __init__(
        self,
        rows: Rows,
        dtype: np.dtype,
        *,
        y_dtype: np.dtype | None = None,
        allow_nan: bool = False,
        multiple: int = 1,
    ):
        self.n, (_, d) = rows.shape[0], rows.shape
        self._rows, self._allow_nan = rows, allow_nan
        self._size = -(-_batch_rows(self.n, d * dtype.itemsize) // multiple) * multiple
        self._present = False  # a row of positive weight
        self._marks: list[tuple[int, float]] = []  # rows and sum of every batch
        outputs = None if y_dtype is None or rows.y is None else rows.y.shape[1:]
        self._buffers = [self._buffer(d, dtype, outputs, y_dtype) for _ in range(_BUFFERS)]

    def _buffer(self, d, dtype, outputs, y_dtype):
        y = None if outputs is None else aligned((self._size, *outputs), y_dtype)
        return _Buffer(aligned((self._size, d), dtype), y, aligned((self._size,), dtype))

    @contextlib.contextmanager
    def one_pass(self) -> Iterator[tuple[Iterator[Batch], Any]]:
        """Starts the thread and gives its batches, and the function that gives a buffer back.

        Raises:
          ValueError: from the batches, for rows that are not as they should be: NaN, infinite,
            a negative weight, or unlike those of the pass before.
        """
        free, ready = queue.SimpleQueue(), queue.SimpleQueue()
        for buffer in self._buffers:
            free.put(buffer)
        stop = threading.Event()
        thread = threading.Thread(target=self._produce, args=(free, ready, stop), daemon=True)
        thread.start()
        try:
            yield _batches(ready), free.put
        finally:
            stop.set()
            free.put(None)  # it may be waiting for a buffer
            thread.join(_PATIENCE)

    def _produce(self, free, ready, stop):
        try:
            for batch in self._filled(free, stop):
                ready.put(batch)
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    def _filled(self, free, stop):
        buffer, filled, mark, index, seen = None, 0, 0.0, 0, 0
        for block in self._rows:
            begin = 0
            while begin < len(block.x):
                buffer = free.get() if buffer is None else buffer
                if stop.is_set():
                    return
                end = min(len(block.x), begin + self._size - filled)
                mark += self._copy(block, begin, end, buffer, filled)
                filled, begin = filled + end - begin, end
                if filled == self._size:
                    yield self._batch(buffer, filled, mark, index, seen)
                    buffer, filled, mark, index, seen = None, 0, 0.0, index + 1, seen + filled
        if buffer is not None:
            yield self._batch(buffer, filled, mark, index, seen)
            seen += filled
        self._end(seen)

    def _batch(self, buffer, filled, mark, index, seen):
        if index == len(self._marks):
            self._marks.append((filled, mark))
        elif self._marks[index] != (filled, mark):
            raise ValueError(
                f"Rows {seen} to {seen + filled} of the source are unlike those of the first pass, "
                "expected the same rows in the same order: fix what makes them, or its seed."
            )
        whole = filled == self._size and not self._rows.weighted
        for part in () if filled == self._size else buffer:
            if part is not None:
                part[filled:] = 0
        return Batch(buffer.x, buffer.y, None if whole else buffer.weight, filled, buffer)

    def _end(self, seen):
        if seen == 0:
            raise ValueError("The source has no rows, expected at least one: fill it first.")
        if not self._present:
            raise ValueError("All weights of the source are 0, expected one that is positive.")
        if self.n not in (None, seen):
            raise ValueError(
                f"The source gave {seen} rows, expected {self.n} as it said or gave before: "
                "every pass must give the same."
            )
        self.n = seen

    def _copy(self, block, begin, end, buffer, filled):
        """Copies rows of a block behind those in the buffer, and returns the sum of it all."""
        step, mark = max(1, _CHUNK_BYTES // max(1, buffer.x[0].nbytes)), 0.0
        for i in range(begin, end, step):
            stop = min(i + step, end)
            out = buffer.x[filled + i - begin : filled + stop - begin]
            _fill(block.x[i:stop], out)
            mark += looked_through(out, "x", block, i, allow_nan=self._allow_nan)
        to = slice(filled, filled + end - begin)
        for what, part, out in zip(("y", "weight"), block[1:3], buffer[1:], strict=True):
            if out is not None:
                _fill(1 if part is None else part[begin:end], out[to])
                mark += looked_through(out[to], what, block, begin)
        if (least := buffer.weight[to].min()) < 0:
            raise ValueError(
                f"{block.name} has the weight {least:g}, expected none below 0: 0 is an absent row."
            )
        self._present = self._present or bool(buffer.weight[to].max() > 0)
        return mark


def _batches(ready):
    while (batch := ready.get()) is not None:
        if isinstance(batch, BaseException):
            raise batch
        yield batch


def _batch_rows(n, row_bytes):
    most = min(_MOST_ROWS, max(_LEAST_ROWS, _BATCH_BYTES // max(1, row_bytes)))
    most = 2 ** int(math.log2(most))
    return most if n is None else min(most, max(64, 2 ** (n - 1).bit_length()))


def looked_through(
    rows: np.ndarray, what: str, block: Block, begin: int, *, allow_nan: bool = False
) -> float:
    """The sum of rows from `begin` on; an error if they are not finite."""
    with np.errstate(over="ignore", invalid="ignore"):  # a sum that overflows is looked at
        added = float(rows.sum())
    if math.isfinite(added):
        return added
    bad = np.isinf(rows) if allow_nan else ~np.isfinite(rows)
    if bad.any():
        row = begin + int(bad.reshape(len(rows), -1).any(1).argmax())
        kind = "infinity" if allow_nan else "NaN or infinity"
        raise ValueError(
            f"{block.name} has {kind} in row {row} of {what}: remove or impute such rows first."
        )
    return 0.0


def _fill(rows, out):
    if isinstance(rows, FileRows) and rows.dtype == out.dtype and out.flags.c_contiguous:
        rows.read_into(out)
    else:
        out[...] = np.asarray(rows)
