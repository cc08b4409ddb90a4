"""The same fits over rows that do not fit in memory: out of core.

The host reads batches of rows ahead, and the device adds up the sums that a fit in memory adds
up: one pass over the source for least squares, PCA and scaling, one more for each step where a
solver has steps. Inside `jax.set_mesh` every batch is spread over the devices.

Example:
  >>> rows = data.open_rows("x.npy", y="y.npy")
  >>> params, info = streaming.fit(ridge.fit, rows, ridge.Hyper(l2=1.0))
"""

from jaxfound.streaming.fits import fit
from jaxfound.streaming.stream import Stream, float_of

__all__ = ["Stream", "fit", "float_of"]
