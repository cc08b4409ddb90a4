"""Layers that several networks have."""

from flax import nnx

__all__ = ["dense"]


def dense(n_in: int, n_out: int, rngs: nnx.Rngs) -> nnx.Linear:
    """A dense layer with Keras's first weights, in full precision on accelerators too."""
    start = nnx.initializers.glorot_uniform()
    return nnx.Linear(n_in, n_out, kernel_init=start, precision="highest", rngs=rngs)
