"""The table of a network's layers: what each puts out, and how many parameters it has."""

from typing import Any, NamedTuple

import jax
from flax import nnx

__all__ = ["Row", "layers", "summary"]


class Row(NamedTuple):
    name: str  # the attribute that holds the layer
    kind: str
    shape: tuple[int, ...]  # of what it puts out, without the rows
    parameters: int


def summary(module: nnx.Module, x: Any) -> None:
    """Prints the table of layers, as Keras users know it.

    Args:
      x: an input as the module takes it, arrays or `jax.ShapeDtypeStruct`s; nothing is computed.

    Example:
      >>> summary(CNN(rngs=nnx.Rngs(0)), jnp.zeros((1, 28, 28, 1)))
      CNN
      ------------------------------------------------------
      layer               output shape         parameters
      ------------------------------------------------------
      convs.0 (Conv)      (None, 26, 26, 32)   320
      pool (MaxPool)      (None, 13, 13, 32)   0
      convs.1 (Conv)      (None, 11, 11, 64)   18,496
      pool (MaxPool)      (None, 5, 5, 64)     0
      convs.2 (Conv)      (None, 3, 3, 64)     36,928
      hidden (Linear)     (None, 64)           36,928
      dropout (Dropout)   (None, 64)           0
      out (Linear)        (None, 10)           650
      ------------------------------------------------------
      Parameters: 93,322
    """
    found = layers(module, x)
    lines = [(f"{r.name} ({r.kind})", _shown(r.shape), f"{r.parameters:,}") for r in found]
    widths = [max(map(len, column)) + 3 for column in zip(_HEAD, *lines, strict=True)]
    rule = "-" * sum(widths)
    print(type(module).__name__, rule, _aligned(_HEAD, widths), rule, sep="\n")
    print(*(_aligned(line, widths) for line in lines), rule, sep="\n")
    print(f"Parameters: {_count(module):,}")


def layers(module: nnx.Module, x: Any) -> list[Row]:
    """The layers that a module calls, in order; read off a trace of its call.

    Args:
      x: an input; its first axis is the rows.
    """
    graph, state = nnx.split(module)
    rows: list[Row] = []

    def traced(x):
        copy = nnx.merge(graph, state, copy=True)
        copy.eval()
        for path, part in nnx.iter_modules(copy):
            if path:
                _watch(part, ".".join(map(str, path)), rows)
        return copy(x)

    jax.eval_shape(traced, x)
    return rows


def _watch(part: nnx.Module, name: str, rows: list[Row]) -> None:
    """Has a layer add a row when it is called, in place of those of the layers that it calls."""
    kind: Any = type(part)

    def noting(self, *inputs, **options):
        before = len(rows)
        out = kind.__call__(self, *inputs, **options)
        shape = jax.tree.leaves(out)[0].shape[1:]
        rows[before:] = [Row(name, kind.__name__, shape, _count(self))]
        return out

    part.__class__ = type(kind.__name__, (kind,), {"__call__": noting})


def _count(module):
    return sum(p.size for p in jax.tree.leaves(nnx.state(module, nnx.Param)))


def _shown(shape):
    return f"({', '.join(['None', *map(str, shape)])})"


def _aligned(cells, widths):
    return "".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip()


_HEAD = ("layer", "output shape", "parameters")
