"""What every classifier does with its labels: find the classes, number them, weigh them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from jaxfound.data.sources import Rows
from jaxfound.estimators._base import Table

__all__ = ["classes_of", "encoded"]


def classes_of(table: Table) -> np.ndarray:
    """The sorted labels of the rows that are present."""
    found = []
    for labels, weight in _labels(table):
        check_classification_targets(labels)
        found.append(np.unique(labels if weight is None else labels[weight > 0]))
    return found[0] if len(found) == 1 else np.unique(np.concatenate(found))


def encoded(table: Table, classes: np.ndarray, class_weight: Any) -> tuple[Table, np.ndarray]:
    """The table with class indices and its weights times those of the classes, and the latter.

    Args:
      classes: from `classes_of`, not empty.
      class_weight: scikit-learn's: None, "balanced" or a dictionary.
    """
    shares = np.ones(len(classes))
    if class_weight is not None:
        amounts = sum(_amounts(classes, *part, table.dtype) for part in _labels(table))
        shares = compute_class_weight(
            class_weight, classes=classes, y=classes, sample_weight=amounts
        )

    def change(labels, weight):
        index = _index(classes, labels)
        if isinstance(table.x, Rows):
            _check_known(classes, index, labels, weight)
        if class_weight is not None:
            own = shares[index].astype(table.dtype)
            weight = own if weight is None else weight * own
        return index.astype(np.int32), weight

    if isinstance(table.x, Rows):
        return table._replace(x=table.x.map_targets(change).astype(table.dtype)), shares
    y, weight = change(np.asarray(table.y), table.weight)
    return table._replace(y=y, weight=weight), shares


def _labels(table) -> Iterator[tuple[np.ndarray, Any]]:
    """Labels and weights, a part at a time where they are in a source."""
    if isinstance(table.x, Rows):
        yield from table.x.targets()
    else:
        yield np.asarray(table.y), table.weight


def _check_known(classes, index, labels, weight):
    unknown = classes[index] != labels
    unknown = unknown if weight is None else unknown & (weight > 0)
    if unknown.any():
        raise ValueError(
            f"y has the label {labels[unknown.argmax()]}, expected one of {classes} as in the "
            "first pass: every pass must give the same."
        )


def _index(classes, labels):
    return np.searchsorted(classes, labels).clip(max=len(classes) - 1)


def _amounts(classes, labels, weight, dtype):
    weight = np.ones(len(labels), dtype) if weight is None else weight
    return np.bincount(_index(classes, labels), weight, len(classes))
