"""Data larger than the device: a part of an epoch at a time, the next one read meanwhile."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxfound._types import Key
from jaxfound.nn.train import Config, Data

__all__ = ["Stream", "epoch_steps", "part_steps", "parts"]


class Stream(NamedTuple):
    """Rows that stay on the host, such as memory-mapped arrays; used in place of `Data`."""

    x: Any  # a pytree of arrays [n ...]
    y: Any
    weight: Any = None
    rows: int = 2**16  # on the device at a time, and as many again on their way


def parts(data: Data | Stream, key: Key, epoch: int, config: Config) -> Iterator[Data]:
    """What an epoch trains on, in turn: parts of equal size, each drawn by weight."""
    if isinstance(data, Data):
        yield data
        return
    order = _order(data, key, epoch, config)
    chunks = order.reshape(-1, part_steps(data, config) * config.batch_size)
    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(_read, data, chunks[0])
        for following in (*chunks[1:], None):
            part = ahead.result()
            if following is not None:
                ahead = reader.submit(_read, data, following)
            yield part


def part_steps(data: Data | Stream, config: Config) -> int:
    """Batches in a part."""
    steps = -(-_present(data) // config.batch_size)
    most = data.rows // config.batch_size if isinstance(data, Stream) else steps
    return max(1, min(steps, most))


def epoch_steps(data: Data | Stream, config: Config) -> int:
    """Batches in an epoch: every row that is present, in whole parts, the last one filled up."""
    part = part_steps(data, config)
    return -(-_present(data) // (part * config.batch_size)) * part


def _present(data):
    return len(data.y) if data.weight is None else int((data.weight > 0).sum())


def _order(data, key, epoch, config):
    """The rows of an epoch, drawn as `train.run` draws them."""
    marks = epoch_steps(data, config) * config.batch_size
    rng = np.random.default_rng([*np.asarray(jax.random.key_data(key)).ravel(), epoch])
    weight = np.ones(len(data.y)) if data.weight is None else np.asarray(data.weight, float)
    line = np.cumsum(weight)
    spots = (np.arange(marks) + rng.random()) * (line[-1] / marks)
    rows = np.searchsorted(line, np.minimum(spots, np.nextafter(line[-1], 0)), side="right")
    return rng.permutation(rows)


def _read(data, rows):
    rows = np.sort(rows)  # as they lie on the disk; `run` shuffles them
    x, y = jax.tree.map(lambda a: jnp.asarray(a[rows]), (data.x, data.y))
    return Data(x, y)
