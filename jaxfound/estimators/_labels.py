"""What every classifier does with its labels: find the classes, number them, weigh them."""

from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from jaxfound.estimators._base import Table

__all__ = ["classes_of", "encoded"]


def classes_of(table: Table) -> np.ndarray:
    """The sorted labels of the rows that are present."""
    labels = np.asarray(table.y)
    check_classification_targets(labels)
    return np.unique(labels if table.weight is None else labels[table.weight > 0])


def encoded(table: Table, classes: np.ndarray, class_weight: Any) -> tuple[Table, np.ndarray]:
    """The table with class indices and its weights times those of the classes, and the latter.

    Args:
      classes: from `classes_of`, not empty.
      class_weight: scikit-learn's: None, "balanced" or a dictionary.
    """
    labels = np.asarray(table.y)
    index = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    table = table._replace(y=index.astype(np.int32))
    if class_weight is None:
        return table, np.ones(len(classes))
    weight = np.ones(len(labels), table.dtype) if table.weight is None else table.weight
    present = np.where(weight > 0, labels, classes[0])
    shares = compute_class_weight(class_weight, classes=classes, y=present, sample_weight=weight)
    return table._replace(weight=weight * shares[index].astype(weight.dtype)), shares
