"""The same functions over many devices, of one process or of several.

A mesh has one axis of rows. Inside `jax.set_mesh(mesh)` every fit adds up its rows on the device
that holds them, and only sums travel; no array of rows is ever gathered.

Example:
  >>> mesh = parallel.make_mesh()
  >>> x, y, weight = parallel.shard_rows(mesh, x, y)
  >>> with jax.set_mesh(mesh):
  ...     params, info = ridge.fit(x, y, weight)
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxfound._types import Array
from jaxfound.numerics.mesh import AXIS, LANES

__all__ = ["AXIS", "LANES", "initialize", "make_mesh", "shard_rows"]


def make_mesh(devices: Sequence[Any] | None = None, axis: str = AXIS) -> Mesh:
    """A mesh with one axis over `devices`, by default all devices of all processes.

    Args:
      axis: `AXIS` spreads the rows of every fit, `LANES` whole fits of an experiment.
    """
    devices = jax.devices() if devices is None else list(devices)
    return Mesh(np.array(devices), (axis,), axis_types=(AxisType.Auto,))


def shard_rows(mesh: Mesh, *rows: Any, weight: Any = None) -> tuple[Array, ...]:
    """Spreads rows over the devices of a mesh, padded with rows of weight zero.

    Args:
      mesh: from `make_mesh`, or any mesh with an axis `AXIS`.
      *rows: arrays `[n ...]` of equal length, for example x and y. With several processes each
        gives its own rows; their numbers may differ.
      weight: `[n]`, or None for ones.

    Returns:
      The arrays on the mesh, and behind them the weights. Their length is a multiple of the
      number of devices.

    Raises:
      ValueError: if the mesh has no axis of rows, or lengths differ.

    Example:
      >>> x, y, weight = shard_rows(make_mesh(), x, y)
    """
    if AXIS not in mesh.axis_names:
        raise ValueError(
            f"mesh has the axes {mesh.axis_names}, expected {AXIS!r} among them: take make_mesh()."
        )
    rows = tuple(map(np.asarray, rows))
    if weight is None:
        weight = np.ones(len(rows[0]), np.result_type(rows[0].dtype, np.float32))
    lengths = [len(r) for r in (*rows, weight)]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"rows have lengths {lengths[:-1]} and weight {lengths[-1]}, expected one length: "
            "every array has one entry for each row."
        )
    size = _padded_length(lengths[0], mesh)
    return tuple(_on_mesh(mesh, r, size) for r in (*rows, weight))


def initialize(
    coordinator_address: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    timeout: int = 60,
) -> None:
    """Joins this process to the others; call it before anything else touches JAX.

    On a TPU pod slice, under Slurm and under Open MPI the arguments are found by JAX itself.

    Args:
      coordinator_address: `host:port` of process 0, reachable by all.
      num_processes: how many there are.
      process_id: which of them this is, from 0.
      timeout: seconds to wait for the others to appear, and after which a process that was lost
        ends the rest with an error.

    Raises:
      RuntimeError: if the others do not appear in time, or JAX has started already.
    """
    config: Any = jax.config  # its options are made at run time, unseen by a type checker
    config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        *(coordinator_address, num_processes, process_id),
        initialization_timeout=timeout,
        heartbeat_timeout_seconds=timeout,
    )


def _padded_length(n, mesh):
    """What every process pads its rows to: enough for the longest, and even over its devices."""
    longest = int(np.max(multihost_utils.process_allgather(np.asarray(n))))
    here = mesh.local_mesh.shape[AXIS]
    return -(-longest // here) * here


def _on_mesh(mesh, rows, size):
    rows = np.asarray(rows)
    padded = np.zeros((size, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    return jax.make_array_from_process_local_data(sharding, padded)
