"""What the displays share: data for pure functions, names of columns, and a few marks."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array

from jaxfound.estimators._base import FLOATS
from jaxfound.model_selection.scoring import Scorer

__all__ = [
    "BLUE",
    "GREY",
    "ORANGE",
    "Score",
    "as_target",
    "bars",
    "inputs",
    "names",
    "new_axes",
    "on_device",
]

BLUE, ORANGE, GREY = "#2a6ebb", "#d96b27", "#8b95a1"
_MOST_BARS = 20


@dataclasses.dataclass(frozen=True)
class Score:
    """A score of `(params, x, y, weight)`; greater is better. Hashable, so that it is static."""

    output: Any  # (params, x)
    scorer: Scorer

    def __call__(self, params: Any, x: Any, y: Any, weight: Any = None) -> Any:
        return self.scorer.sign * self.scorer.metric(y, self.output(params, x), weight)


def inputs(estimator: Any, X: Any) -> tuple[np.ndarray, np.dtype]:
    """Finite rows in the dtype to compute in; the images of a network in [0, 1]."""
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if hasattr(last, "_graph"):
        x = np.asarray(last._inputs(X))
        if x.ndim != 4:
            raise TypeError(
                f"estimator is a {type(last).__name__}, whose inputs are no images: a gradient in "
                "them has no meaning."
            )
        return (x / np.float32(255) if x.dtype == np.uint8 else x), np.dtype(np.float32)
    options: dict[str, Any] = {"dtype": FLOATS}
    x = check_array(X, **options)
    return x, x.dtype


def as_target(classes: Any, y: Any, dtype: np.dtype) -> np.ndarray:
    """Class indices, or without classes numbers in the dtype to compute in.

    Raises:
      ValueError: for a label that is none of the classes.
    """
    if classes is None:
        return np.asarray(y, dtype)
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(f"y has the label {str(unknown[0])!r}, expected one of {classes}.")
    return np.searchsorted(classes, y).astype(np.int32)


def on_device(params: Any, dtype: np.dtype) -> Any:
    """Params with all numbers in one dtype; the keys of a network's dropout stay."""

    def placed(leaf):
        is_key = isinstance(leaf, jax.Array) and not jnp.issubdtype(leaf.dtype, jnp.number)
        return leaf if is_key else jnp.asarray(leaf, dtype)

    return jax.tree.map(placed, params)


def names(given: Any, X: Any, d: int) -> list[str]:
    """Names of columns: those given, a frame's own, or x0, x1 ...

    Raises:
      ValueError: for another number of names than columns.
    """
    known = getattr(X, "columns", [f"x{i}" for i in range(d)]) if given is None else given
    if len(known) != d:
        raise ValueError(f"feature_names has {len(known)} names, expected {d}, one a column.")
    return [str(name) for name in known]


def new_axes(ax: Any) -> tuple[Any, Any]:
    """The axes given, or new ones, and their figure."""
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(layout="constrained")
    return ax, ax.figure


def bars(ax: Any, sizes: Any, labels: list[str]) -> None:
    """Horizontal bars, the largest on top, the smallest of many left out."""
    order = np.argsort(np.abs(sizes))[-_MOST_BARS:]
    colours = np.where(sizes[order] < 0, ORANGE, BLUE)
    ax.barh([labels[i] for i in order], sizes[order], color=colours)
    ax.axvline(0, color=GREY, linewidth=1)
