"""One-vs-one: every pair of classes is a problem of its own, and the problems vote."""

import itertools

import jax.numpy as jnp
import numpy as np

from jaxfound._types import Array, Bool, Float, Int

__all__ = ["class_pairs", "rows_of_class", "votes"]


def class_pairs(n_classes: int) -> np.ndarray:
    """The pairs `[p 2]`, in the order of all arrays that have one entry a pair."""
    return np.array(list(itertools.combinations(range(n_classes), 2)), np.int32)


def votes(scores: Float[Array, "n p"], n_classes: int) -> Int[Array, "n k"]:
    """How many pairs each class wins; zero is a vote for the second."""
    first, second = class_pairs(n_classes).T
    wins = jnp.zeros((len(scores), n_classes), jnp.int32)
    wins = wins.at[:, second].add((scores >= 0).astype(jnp.int32))
    return wins.at[:, first].add((scores < 0).astype(jnp.int32))


def rows_of_class(
    y: Int[Array, " n"], present: Bool[Array, " n"], n_classes: int, most: int
) -> tuple[Int[Array, "k c"], Bool[Array, "k c"]]:
    """For every class `most` of its rows, absent ones last, and which of these entries are rows."""
    labels = jnp.where((y >= 0) & (y < n_classes), y, n_classes)
    order = jnp.argsort(2 * labels + (~present).astype(y.dtype)).astype(jnp.int32)
    counts = (labels[None] == jnp.arange(n_classes)[:, None].astype(y.dtype)).sum(1)
    starts = jnp.cumsum(counts) - counts
    place = jnp.arange(most)
    at = jnp.minimum(starts[:, None] + place[None], len(y) - 1)
    return order[at], place[None] < counts[:, None]
