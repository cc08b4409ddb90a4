"""Folds as row weights: which rows a fit sees, and which it is judged by.

A fold never cuts the data: it is a mask over all rows, so that a cross-validation is a `vmap` of
`fit` over masks, and one program whatever the number of folds. The assignments equal
scikit-learn's row for row, given the same order of rows.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxfound._types import Array, Float, Int, Key, Shaped

__all__ = [
    "Folds",
    "first_rows",
    "from_assignment",
    "from_indices",
    "group_k_fold",
    "k_fold",
    "leave_one_group_out",
    "leave_one_out",
    "repeated",
    "shuffle_split",
    "stratified_k_fold",
    "time_series_split",
]


class Folds(NamedTuple):
    """One row of masks a fold, 0 or 1, to be multiplied by the weights of the rows."""

    train: Float[Array, "f n"]
    test: Float[Array, "f n"]
    # The place of every row among the rows trained on; learning curves take the first of them.
    place: Int[Array, "f n"]


def k_fold(n: int, n_folds: int = 5, order: Shaped[Array, " n"] | None = None) -> Folds:
    """`n_folds` stretches of equal length, the first ones longer by a row where they must be.

    Args:
      order: the rows in the order in which they are cut, a permutation; None is as they come.

    Raises:
      ValueError: for fewer than two folds, or more folds than rows.
    """
    _check_count(n_folds, n)
    stretch = jnp.asarray(np.repeat(np.arange(n_folds), _lengths(n, n_folds)))
    fold = stretch if order is None else jnp.zeros(n, stretch.dtype).at[order].set(stretch)
    return from_assignment(fold, n_folds)


def stratified_k_fold(
    y: Int[Array, " n"],
    n_folds: int = 5,
    order: Shaped[Array, " n"] | None = None,
    *,
    n_classes: int,
) -> Folds:
    """Folds with the same shares of every class, to within a row.

    Args:
      y: class indices `0 .. n_classes - 1`, numbered in any way.
      order: within a class, rows are dealt out in this order; None is as they come.
      n_classes: static.

    Raises:
      ValueError: for fewer than two folds, or more folds than rows.
    """
    n = y.shape[0]
    _check_count(n_folds, n)
    order = jnp.arange(n) if order is None else order
    labels = _by_first_row(y, n_classes)[order]
    belongs = labels[:, None] == jnp.arange(n_classes)[None]
    rank = jnp.take_along_axis(belongs.cumsum(0), labels[:, None], 1)[:, 0] - 1
    # Of the classes in a row, sorted, every n_folds-th goes to the same fold: so many of a class.
    counts = belongs.sum(0)
    ends = counts.cumsum()[None] - jnp.arange(n_folds)[:, None]
    upto = -(-jnp.maximum(ends, 0) // n_folds)
    share = jnp.diff(upto, axis=1, prepend=0)  # [folds classes]
    fold = (rank[None] >= share.cumsum(0)[:, labels]).sum(0)
    return from_assignment(jnp.zeros(n, fold.dtype).at[order].set(fold), n_folds)


def shuffle_split(
    key: Key, n: int, n_splits: int = 10, *, n_test: int, n_train: int | None = None
) -> Folds:
    """Independent splits, each of a fresh permutation: first the rows held out, then the others.

    Raises:
      ValueError: if there are too few rows for both, or one of them is empty.
    """
    n_train = n - n_test if n_train is None else n_train
    if not (n_test >= 1 and n_train >= 1 and n_test + n_train <= n):
        raise ValueError(
            f"n_test is {n_test} and n_train is {n_train}, expected at least 1 each and together "
            f"at most n = {n}: ask for fewer rows."
        )
    order = jax.vmap(lambda key: jax.random.permutation(key, n))(jax.random.split(key, n_splits))
    at = jnp.argsort(order, axis=1)  # where in the permutation a row lies
    test, place = at < n_test, at - n_test
    train = (place >= 0) & (place < n_train)
    return Folds(train.astype(float), test.astype(float), jnp.where(train, place, n))


def group_k_fold(groups: Shaped[np.ndarray, " n"], n_folds: int = 5) -> Folds:
    """No group lies in two folds; the largest groups are dealt out first, to the lightest fold.

    Raises:
      ValueError: for fewer groups than folds.
    """
    names, index, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    _check_count(n_folds, len(names), "groups")
    weight, fold = np.zeros(n_folds, int), np.zeros(len(names), int)
    for group in np.argsort(counts, kind="stable")[::-1]:
        fold[group] = weight.argmin()
        weight[fold[group]] += counts[group]
    return from_assignment(jnp.asarray(fold[index]), n_folds)


def leave_one_out(n: int) -> Folds:
    """As many folds as rows."""
    return k_fold(n, n)


def leave_one_group_out(groups: Shaped[np.ndarray, " n"]) -> Folds:
    """A fold for each group, in their sorted order."""
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    _check_count(2, len(names), "groups")
    return from_assignment(jnp.asarray(index), len(names))


def time_series_split(n: int, n_splits: int = 5, gap: int = 0) -> Folds:
    """The rows before a stretch, less `gap` of them, judged by the stretch.

    Raises:
      ValueError: if a split would have no rows to train on.
    """
    size = n // (n_splits + 1)
    starts = n - size * np.arange(n_splits, 0, -1)
    if size < 1 or starts[0] - gap < 1:
        raise ValueError(
            f"n_splits is {n_splits} and gap is {gap}, expected fewer for n = {n} rows: the first "
            "split has nothing to train on."
        )
    row, starts = jnp.arange(n)[None], jnp.asarray(starts)[:, None]
    return _with_places(row < starts - gap, (row >= starts) & (row < starts + size))


def repeated(*folds: Folds) -> Folds:
    """The folds of several assignments, one after the other."""
    train, test, place = (jnp.concatenate(parts) for parts in zip(*folds, strict=True))
    return Folds(train, test, place)


def from_assignment(fold: Int[Array, " n"], n_folds: int) -> Folds:
    """Every row is held out once, by the fold that it is assigned to."""
    test = fold[None] == jnp.arange(n_folds)[:, None]
    return _with_places(~test, test)


def from_indices(splits: Iterable[tuple[Any, Any]], n: int) -> Folds:
    """Pairs of index arrays, as the `split` of any scikit-learn splitter yields them.

    Raises:
      ValueError: if there is no pair, or a row occurs twice in one.
    """
    pairs = [[np.asarray(part) for part in pair] for pair in splits]
    if not pairs:
        raise ValueError("splits is empty, expected at least one pair of index arrays.")
    train, test = np.zeros((2, len(pairs), n), bool)
    place = np.full(train.shape, n, np.int32)
    for i, (inside, outside) in enumerate(pairs):
        train[i, inside] = test[i, outside] = True
        if train[i].sum() < len(inside) or test[i].sum() < len(outside):
            raise ValueError(f"split {i} names a row twice, expected each once: use weights.")
        place[i, inside] = np.arange(len(inside))
    return Folds(jnp.asarray(train, float), jnp.asarray(test, float), jnp.asarray(place))


def first_rows(folds: Folds, sizes: Shaped[Array, " s"]) -> Float[Array, "s f n"]:
    """Masks of the first rows trained on, for learning curves."""
    first = folds.place[None] < jnp.asarray(sizes)[:, None, None]
    return jnp.where(first, folds.train[None], 0)


def _with_places(train, test):
    place = jnp.where(train, train.cumsum(1) - 1, train.shape[1])
    return Folds(train.astype(float), test.astype(float), place)


def _by_first_row(y, n_classes):
    # Classes numbered by where they first occur.
    n = y.shape[0]
    first = jnp.full(n_classes, n).at[y].min(jnp.arange(n))
    return jnp.argsort(jnp.argsort(first))[y]


def _lengths(n, n_folds):
    return n // n_folds + (np.arange(n_folds) < n % n_folds)


def _check_count(n_folds, n, what="rows"):
    if not 2 <= n_folds <= n:
        raise ValueError(
            f"n_folds is {n_folds}, expected at least 2 and at most the number of {what}, {n}."
        )
