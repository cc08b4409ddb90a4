"""Rows in files: found by path, and read by position."""

import dataclasses
import mmap
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["FileRows", "find", "of_memmap", "of_npy"]


@dataclasses.dataclass(frozen=True)
class FileRows:
    """An array in a file, read only where it is asked for."""

    path: str
    offset: int  # bytes before its first element
    shape: tuple[int, ...]
    dtype: np.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> "FileRows":
        start, stop, _ = rows.indices(len(self))
        n = max(0, stop - start)
        row_bytes = int(np.prod(self.shape[1:], dtype=int)) * self.dtype.itemsize
        return FileRows(
            self.path, self.offset + start * row_bytes, (n, *self.shape[1:]), self.dtype
        )

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        del copy
        out = np.empty(self.shape, self.dtype)
        self.read_into(out)
        return out if dtype is None else out.astype(dtype, copy=False)

    def read_into(self, out: np.ndarray) -> None:
        """Fills `out`, contiguous and of the same shape and dtype.

        Raises:
          FileNotFoundError: if the file is no longer there.
          ValueError: if it has become shorter.
        """
        bytes_of: Any = out.reshape(-1).view(np.uint8)
        space = memoryview(bytes_of)
        with _opened(self.path) as file:
            file.seek(self.offset)
            while len(space):
                got = file.readinto(space)
                if not got:
                    raise ValueError(
                        f"{self.path} ends at byte {file.tell()}, expected {len(space)} bytes "
                        "more: it was cut short; write it again."
                    )
                space = space[got:]


def find(path: str | Path, suffix: str) -> list[Path]:
    """The file itself, or the files with this suffix in a directory, by name.

    Raises:
      FileNotFoundError: if there is nothing at `path`.
      ValueError: if it is a file of another kind, or a directory without any.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there, expected a file or a directory of rows.")
    if path.is_dir():
        found = sorted(path.glob(f"*{suffix}"))
        if not found:
            raise ValueError(f"{path} has no {suffix} files, expected at least one.")
        return found
    if path.suffix != suffix:
        raise ValueError(f"{path} ends in {path.suffix!r}, expected '.npy' or '.parquet'.")
    return [path]


def of_npy(path: Path) -> FileRows:
    """What the header of a `.npy` file says of it, compared with its size."""
    with _opened(str(path)) as file:
        try:
            version = np.lib.format.read_magic(file)
            reads = {(1, 0): np.lib.format.read_array_header_1_0}
            header = reads.get(version, np.lib.format.read_array_header_2_0)(file)
        except ValueError as error:
            raise ValueError(
                f"{path} has no header of a .npy file, expected one: write it with numpy.save."
            ) from error
        offset = file.tell()
    shape, by_columns, dtype = header
    if dtype.hasobject or not shape:
        raise ValueError(f"{path} holds {dtype} of shape {shape}, expected an array of numbers.")
    if by_columns and len(shape) > 1:
        raise ValueError(
            f"{path} is stored by columns, expected rows: save numpy.ascontiguousarray of it."
        )
    expected = offset + int(np.prod(shape, dtype=int)) * dtype.itemsize
    if (size := path.stat().st_size) < expected:
        raise ValueError(
            f"{path} has {size} bytes, expected {expected} for its shape {shape}: it was cut "
            "short; write it again."
        )
    return FileRows(str(path), offset, shape, dtype)


def of_memmap(rows: Any) -> Any:
    """The rows of a memory map by their place in its file, or as they are if they have none."""
    whole = rows._mmap
    # A private map is not the file, and only rows that lie one behind the other can be read.
    if whole is None or rows.filename is None or rows.mode == "c" or not rows.flags.c_contiguous:
        return rows
    begin = rows.offset - rows.offset % mmap.ALLOCATIONGRANULARITY  # where the map begins
    # Of a slice, `offset` is still that of the whole; its address tells where it lies.
    inside = rows.ctypes.data - np.frombuffer(whole, np.uint8).ctypes.data
    return FileRows(str(rows.filename), begin + inside, rows.shape, rows.dtype)


def _opened(path):
    try:
        return open(path, "rb", buffering=0)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is no longer there, expected a file of rows.") from None
