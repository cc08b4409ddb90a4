"""Rows that need not fit in memory: where they are, and how a block of them is read.

A source can be read again and again: every pass gives the same rows in the same order. Files are
read by position into memory of the reader, not mapped: so a file takes no memory, and one that
was cut short is an error and no crash.

Example:
  >>> rows = open_rows("x.npy", y="y.npy")
  >>> model = jf.Ridge().fit(rows)
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxfound.data import parquet
from jaxfound.data.files import find, of_memmap, of_npy

__all__ = ["Block", "Rows", "Target", "open_rows"]

_PIECE_BYTES = 2**22  # of x, in what `Rows.pieces` gives
_TARGET_ROWS = 2**18  # in what `Rows.targets` gives
_NUMBERS = "fiub"  # kinds of dtypes


class Block(NamedTuple):
    """Rows that lie together; each part an array, or `FileRows` that are still to be read."""

    x: Any  # [b d]
    y: Any  # [b] or [b k], or None
    weight: Any  # [b], or None for ones
    name: str  # what an error calls it

    def part(self, rows: slice) -> "Block":
        """The same of a slice of its rows."""
        return Block._make((*(None if a is None else a[rows] for a in self[:3]), self.name))


class Target(NamedTuple):
    """What is known of `y` before it is read."""

    shape: tuple[Any, ...]  # [n] or [n k]; n is None if unknown
    dtype: np.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)


class Rows:
    """A source of rows, from `open_rows`. Iterating gives checked blocks.

    Attributes:
      shape: (n, d); n is None where only a pass over the blocks can tell it.
      dtype: of x.
      y: the shape and dtype of the targets; None if there are none.
      weighted: whether the blocks come with weights.
      in_memory: whether it is a single block of arrays.
    """

    def __init__(self, blocks: Callable[[], Iterable[Block]], n: int | None = None):
        self._blocks = blocks
        first = next(iter(blocks()), None)
        if first is None:
            raise ValueError("The source has no blocks, expected at least one row: fill it first.")
        self._like = _Like.of(first)
        self.shape, self.dtype = (n, self._like.width), self._like.dtype
        self.weighted = first.weight is not None
        outputs = self._like.outputs
        self.y = None if outputs is None else Target((n, *outputs), first.y.dtype)
        whole = len(first.x) == n
        self.in_memory = whole and all(p is None or type(p) is np.ndarray for p in first[:3])

    def __iter__(self) -> Iterator[Block]:
        for block in self._blocks():
            self._like.check(block)
            yield block

    def astype(self, dtype: Any) -> "Rows":
        """The source whose x is computed with as this dtype."""
        rows = copy.copy(self)
        rows.dtype = np.dtype(dtype)
        return rows

    def pieces(self) -> Iterator[Block]:
        """The rows in blocks of a few megabytes, read into arrays."""
        rows = max(1, _PIECE_BYTES // max(1, self.shape[1] * self.dtype.itemsize))
        for part in self._parts(rows):
            yield Block._make((*map(_read, part[:3]), part.name))

    def targets(self) -> Iterator[tuple[Any, Any]]:
        """`y` and `weight`, a part at a time; of files, x is not read for that."""
        for part in self._parts(_TARGET_ROWS):
            yield _read(part.y), _read(part.weight)

    def amount(self) -> float:
        """The number of rows, or the sum of their weights."""
        if self.shape[0] is not None and not self.weighted:
            return self.shape[0]
        return sum(map(_amount, self._parts(_TARGET_ROWS)))

    def map(self, function: Callable[[Any], Any]) -> "Rows":
        """The source with `function(x)` in the place of x, computed anew in every pass."""
        return Rows(
            lambda: (piece._replace(x=function(piece.x)) for piece in self.pieces()), self.shape[0]
        )

    def map_targets(self, function: Callable[[Any, Any], tuple[Any, Any]]) -> "Rows":
        """The source with `function(y, weight)` in the place of both."""

        def changed(part):
            y, weight = function(_read(part.y), _read(part.weight))
            return part._replace(y=y, weight=weight)

        return Rows(lambda: map(changed, self._parts(_TARGET_ROWS)), self.shape[0])

    def _parts(self, rows):
        for block in self:
            for start in range(0, len(block.x), rows):
                yield block.part(slice(start, start + rows))


class _Like(NamedTuple):
    """What all blocks have in common with the first."""

    name: str
    width: int
    dtype: np.dtype
    outputs: tuple[int, ...] | None
    weighted: bool

    @classmethod
    def of(cls, block: Block) -> "_Like":
        if len(block.x.shape) != 2 or block.x.dtype.kind not in _NUMBERS:
            raise ValueError(
                f"{block.name} has shape {block.x.shape} and dtype {block.x.dtype}, expected "
                "numbers [n d]: one row a sample."
            )
        outputs = None if block.y is None else tuple(block.y.shape[1:])
        weighted = block.weight is not None
        return cls(block.name, block.x.shape[1], np.dtype(block.x.dtype), outputs, weighted)

    def check(self, block: Block) -> None:
        """Raises ValueError for a block that is unlike the first, or unequal in its lengths."""
        other = _Like.of(block)
        for what, is_, expected in zip(
            ("columns", "dtype", "targets of shape", "weights"), other[1:], self[1:], strict=True
        ):
            if is_ != expected:
                raise ValueError(
                    f"{block.name} has {what} {is_}, expected {expected} as in {self.name}: "
                    "all blocks of a source are alike."
                )
        for what, part in (("y", block.y), ("weight", block.weight)):
            if part is not None and len(part) != len(block.x):
                raise ValueError(
                    f"{what} of {block.name} has {len(part)} rows, expected {len(block.x)} as in "
                    "x: one entry for each row."
                )


def open_rows(rows: Any, y: Any = None, weight: Any = None) -> Rows:
    """Makes a source of rows, without reading them.

    Args:
      rows: an array or `numpy.memmap` `[n d]`; the path of a `.npy` or `.parquet` file, or of a
        directory of such files, taken in the order of their names; or blocks: a list or another
        iterable that starts anew each time, or a function that returns one. A block is `x`
        `[b d]`, `(x, y)` or `(x, y, weight)`; blocks may differ in length.
      y: targets `[n]` or `[n k]`: an array, or the path of a file or of a directory with as many
        files. Of Parquet, the name of a column or a list of names; the features are the others.
        Blocks bring their own.
      weight: `[n]`, given as y is; 0 means that the row is absent.

    Returns:
      `Rows`, which `fit` of `Ridge`, `LinearRegression`, `LogisticRegression`, `PCA` and
      `StandardScaler` takes in the place of X, and `streaming.fit`.

    Raises:
      FileNotFoundError: for a path that is not there.
      ValueError: for files that were cut short, blocks or lengths that do not fit together, an
        empty source, or blocks that can be read only once.
      ImportError: for Parquet without pyarrow.

    Example:
      >>> rows = open_rows(numpy.load("x.npy", mmap_mode="r"), y=targets)
      >>> rows = open_rows("folder_of_parquet", y="price")
      >>> rows = open_rows(lambda: (make_block(seed) for seed in range(100)))
    """
    if isinstance(rows, str | Path) and parquet.has(rows):
        start, n = parquet.read(rows, y, weight)
        return Rows(lambda: (Block(*parts) for parts in start()), n)
    if isinstance(rows, str | Path | np.ndarray):
        return _of_arrays(rows, y, weight)
    if y is not None or weight is not None:
        raise ValueError(
            "y or weight were given beside blocks, expected them inside: let each block be "
            "(x, y) or (x, y, weight)."
        )
    return Rows(_of_blocks(rows))


def _of_blocks(blocks):
    start: Any = blocks if callable(blocks) else partial(_started, blocks)
    if not callable(blocks) and not isinstance(blocks, Iterable):
        raise TypeError(
            f"rows is a {type(blocks).__name__}, expected an array, a path, or blocks in a list or "
            "another iterable."
        )
    if not callable(blocks) and iter(blocks) is blocks:
        raise ValueError(
            f"rows is a {type(blocks).__name__}, which can be read only once, expected one that "
            "starts anew each time: give a list, or the function that makes it."
        )
    return lambda: (_as_block(block, f"block {i}") for i, block in enumerate(start()))


def _amount(block):
    return len(block.x) if block.weight is None else float(np.asarray(block.weight).sum())


def _read(part):
    return None if part is None else np.asarray(part)


def _started(blocks):
    return iter(blocks)


def _as_block(block, name):
    parts = block if isinstance(block, tuple) else (block,)
    if not 1 <= len(parts) <= 3:
        raise ValueError(
            f"{name} has {len(parts)} parts, expected x, (x, y) or (x, y, weight) as a tuple."
        )
    arrays = [None if part is None else np.asarray(part) for part in parts]
    return Block._make((*arrays, *[None] * (3 - len(arrays)), name))


def _of_arrays(x, y, weight):
    names, xs = zip(*_parts(x, "X"), strict=True)
    n = sum(map(len, xs))
    ys, weights = _beside(xs, names, y, "y", n), _beside(xs, names, weight, "weight", n)
    blocks = [Block(*parts) for parts in zip(xs, ys, weights, names, strict=True) if len(parts[0])]
    return Rows(lambda: iter(blocks), n)


def _parts(rows, name):
    """Names and parts of an array, a file or a directory."""
    if not isinstance(rows, str | Path):
        rows = np.asanyarray(rows)
        return [(name, of_memmap(rows) if isinstance(rows, np.memmap) else rows)]
    return [(str(path), of_npy(path)) for path in find(rows, ".npy")]


def _beside(xs, names, other, what, n):
    """y or weight, cut as x is."""
    if other is None:
        return [None] * len(xs)
    parts = _parts(other, what)
    total = sum(len(part) for _, part in parts)
    if total != n:
        raise ValueError(f"{what} has {total} rows, expected {n} as in X: one for each row.")
    if len(parts) == 1:
        stops = np.cumsum([len(x) for x in xs])
        return [parts[0][1][stop - len(x) : stop] for x, stop in zip(xs, stops, strict=True)]
    if len(parts) != len(xs):
        raise ValueError(f"{what} has {len(parts)} files, expected {len(xs)} as X has.")
    for x, (name, part), own in zip(xs, parts, names, strict=True):
        if len(part) != len(x):
            raise ValueError(f"{name} has {len(part)} rows, expected {len(x)} as in {own}.")
    return [part for _, part in parts]
