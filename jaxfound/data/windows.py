"""Rows of the host's memory as XLA takes them without a copy, wherever they begin.

XLA reads such memory as it is from a multiple of 64 bytes on, and NumPy's arrays seldom begin at
one. So a window begins at the multiple before its rows and says how far in they are: a program
that reads blocks of rows cuts them out from there, at no cost.
"""

import math
from typing import Any

import jax
import numpy as np

from jaxfound.numerics.reduce import FlatRows

__all__ = ["aligned", "copied", "is_aligned", "room", "window"]

_ALIGNMENT = 64  # bytes


def window(rows: np.ndarray, begin: int, size: int, dtype: Any) -> FlatRows | None:
    """`size` rows from `begin` on, where they lie; None if they have to be copied.

    That is so where `rows`, `[n d]`, are not contiguous or not of `dtype`, and for those at the
    ends of the array, around which there is no memory to read.
    """
    if not (rows.flags.c_contiguous and rows.flags.aligned and rows.dtype == dtype):
        return None
    width, address = rows.shape[1], rows.ctypes.data // rows.itemsize
    lead = (address + begin * width) % (_ALIGNMENT // rows.itemsize)
    start = begin * width - lead
    stop = start + _length(size, width, rows.itemsize)
    if start < 0 or stop > rows.size:
        return None
    return _flat(rows.reshape(-1)[start:stop], lead, (size, width))


def room(size: int, width: int, dtype: Any) -> np.ndarray:
    """Memory for rows that have to be copied, as long as a window on as many."""
    return aligned((_length(size, width, np.dtype(dtype).itemsize),), dtype)


def copied(rows: np.ndarray, room: np.ndarray, size: int) -> tuple[FlatRows, np.ndarray]:
    """A window on a copy of `rows` in `room`, filled up with zeros to `size`, and the copy."""
    n, d = rows.shape
    copy = room[: n * d].reshape(n, d)
    copy[...], room[n * d :] = rows, 0
    return _flat(room, 0, (size, d)), copy


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Memory that XLA takes as it is; NumPy's is aligned to 16 bytes and would be copied."""
    count = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(count + _ALIGNMENT, np.uint8)
    offset = -raw.ctypes.data % _ALIGNMENT
    return raw[offset : offset + count].view(dtype).reshape(shape)


def is_aligned(rows: np.ndarray) -> bool:
    """Whether XLA takes these rows as they are."""
    return rows.flags.c_contiguous and rows.ctypes.data % _ALIGNMENT == 0


def _flat(elements, first, shape):
    return FlatRows(jax.device_put(elements), np.int32(first), shape)


def _length(size, width, item_bytes):
    return size * width + _ALIGNMENT // item_bytes
