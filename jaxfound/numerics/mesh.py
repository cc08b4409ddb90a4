"""Rows over the devices of a mesh: every device works on its own rows, and only results travel.

The mesh is that of `jax.set_mesh`, its axis of rows is called `AXIS`. Without one, and inside a
device's own part, there is one shard: all the rows.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import PartitionSpec

from jaxfound._types import Array, Shaped

__all__ = ["AXIS", "LANES", "every", "per_shard", "shards"]

AXIS = "rows"
LANES = "lanes"  # of the fits of an experiment


def shards() -> int:
    """The number of devices that share the rows here."""
    mesh = jax.sharding.get_abstract_mesh()
    inside = AXIS in mesh.manual_axes
    return 1 if inside else dict(mesh.shape).get(AXIS, 1)


def per_shard(function: Callable[..., Any], *rows: Shaped[Array, "n *_"] | None) -> Any:
    """`function(*its_rows)` on every device; the results behind a leading axis of shards.

    Raises:
      ValueError: if the rows do not divide evenly over the devices.
    """

    def local(*rows):
        return jax.tree.map(lambda result: result[None], function(*rows))

    return _mapped(local, rows) if shards() > 1 else local(*rows)


def every(stride: int, *rows: Shaped[Array, "n *_"] | None) -> tuple[Any, ...]:
    """Every `stride`-th row of each device, left where it is; None stays None."""

    def local(*rows):
        return tuple(None if r is None else r[::stride] for r in rows)

    return _mapped(local, rows) if shards() > 1 else local(*rows)


def _mapped(local, rows):
    n, p = next(len(r) for r in rows if r is not None), shards()
    if n % p:
        raise ValueError(
            f"The data has {n} rows, expected a multiple of the {p} devices on the mesh axis "
            f"{AXIS!r}: jaxfound.parallel.shard_rows pads it with rows of weight zero."
        )
    # Loops start from zeros that are the same on all devices and end in sums that are not.
    over_rows = PartitionSpec(AXIS)
    mapped = jax.shard_map(local, in_specs=over_rows, out_specs=over_rows, check_vma=False)
    return mapped(*rows)
