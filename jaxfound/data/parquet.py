"""Rows in Parquet files, through pyarrow: `pip install "jaxfound[parquet]"`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxfound.data.files import find

__all__ = ["has", "read"]

_SUFFIX = ".parquet"
_BATCH_ROWS = 2**16


def has(path: str | Path) -> bool:
    """Whether this is a Parquet file, or a directory with one."""
    path = Path(path)
    return path.suffix == _SUFFIX if not path.is_dir() else any(path.glob(f"*{_SUFFIX}"))


def read(path: str | Path, y: Any, weight: Any) -> tuple[Callable[[], Iterator[Any]], int]:
    """A function that starts reading `(x, y, weight, name)`, and the number of rows.

    Args:
      path: of a file, or of a directory of them.
      y: the name of a column, a list of names, or None.
      weight: the name of a column, or None.

    Raises:
      ImportError: without pyarrow.
      ValueError: for a file that cannot be read, or columns that are not there.
    """
    files = [(found, *_description(found)) for found in find(path, _SUFFIX)]
    names, n = files[0][1], sum(rows for *_, rows in files)
    targets = [y] if isinstance(y, str) else list(y or ())
    others = [*targets, *([] if weight is None else [weight])]
    for found, own, _ in files:
        if missing := [name for name in (*names, *others) if name not in own]:
            raise ValueError(f"{found} has no column {missing[0]!r}, expected one of {own}.")
    features = [name for name in names if name not in others]

    def start():
        for found, *_ in files:
            for i, batch in enumerate(_batches(found, [*features, *others])):
                columns = dict(zip(batch.schema.names, batch.columns, strict=True))
                x = np.empty((batch.num_rows, len(features)), _dtype(batch.schema, features))
                for j, name in enumerate(features):
                    x[:, j] = _array(columns[name])
                ys = [_array(columns[name]) for name in targets]
                found_y = None if not ys else ys[0] if isinstance(y, str) else np.stack(ys, 1)
                own_weight = None if weight is None else _array(columns[weight])
                yield x, found_y, own_weight, f"{found}, batch {i},"

    return start, n


def _module():
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            "Parquet files are read with pyarrow, which is not installed: "
            'pip install "jaxfound[parquet]".'
        ) from error
    return pyarrow.parquet


def _opened(path):
    try:
        return _module().ParquetFile(path)
    except ValueError as error:  # pyarrow's own errors are of this kind
        raise ValueError(
            f"{path} is not a whole Parquet file, expected one ({error}): write it again."
        ) from error


def _description(path):
    with _opened(path) as file:
        return file.schema_arrow.names, file.metadata.num_rows


def _batches(path, columns):
    with _opened(path) as file:
        yield from file.iter_batches(_BATCH_ROWS, columns=columns)


def _dtype(schema, features):
    # Always a float, so that a null can be NaN, whichever block it is in.
    kinds = [schema.field(name).type.to_pandas_dtype() for name in features]
    return np.result_type(np.float32, *kinds)


def _array(column):
    return column.to_numpy(zero_copy_only=False)
