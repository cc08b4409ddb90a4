"""Folds as masks, against scikit-learn's splitters row for row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import model_selection as reference

from jaxfound.model_selection import folds

SIZES = (7, 20, 103)


def assert_same(ours, splits, n):
    theirs = folds.from_indices(splits, n)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("n_folds", [2, 3, 5])
@pytest.mark.parametrize("n", SIZES)
def test_assignments_are_those_of_scikit_learn(n, n_folds):
    rng = np.random.default_rng(n)
    x, groups = np.zeros((n, 1)), rng.permutation(np.arange(n) % 7 % 6)
    assert_same(folds.k_fold(n, n_folds), reference.KFold(n_folds).split(x), n)
    assert_same(
        folds.group_k_fold(groups, n_folds),
        reference.GroupKFold(n_folds).split(x, groups=groups),
        n,
    )
    assert_same(
        folds.leave_one_group_out(groups),
        reference.LeaveOneGroupOut().split(x, groups=groups),
        n,
    )


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("n_folds", [2, 5])
@pytest.mark.parametrize("n", [40, 103])
def test_strata_are_dealt_out_as_by_scikit_learn(n, n_folds, n_classes):
    y = np.random.default_rng(n).integers(0, n_classes, n)
    deal = jax.jit(folds.stratified_k_fold, static_argnames=("n_folds", "n_classes"))
    ours = deal(y, n_folds=n_folds, n_classes=n_classes)
    assert_same(ours, reference.StratifiedKFold(n_folds).split(np.zeros(n), y), n)


def test_a_shuffled_order_gives_the_shuffled_folds():
    n = 23
    order = np.random.RandomState(3).permutation(n)
    shuffled = reference.KFold(3, shuffle=True, random_state=3).split(np.zeros(n))
    held_out = folds.from_indices(shuffled, n).test
    np.testing.assert_array_equal(folds.k_fold(n, 3, jnp.asarray(order)).test, held_out)


def test_single_rows_and_time():
    x = np.zeros((13, 1))
    assert_same(folds.leave_one_out(13), reference.LeaveOneOut().split(x), 13)
    ours = folds.time_series_split(13, 4, gap=1)
    assert_same(ours, reference.TimeSeriesSplit(4, gap=1).split(x), 13)


def test_random_splits_are_disjoint_and_of_the_size_asked_for():
    split = folds.shuffle_split(jax.random.key(0), 30, 4, n_test=6, n_train=10)
    assert (split.test.sum(1) == 6).all()
    assert (split.train.sum(1) == 10).all()
    assert not (split.test * split.train).any()
    assert len({row.tobytes() for row in np.asarray(split.test)}) == 4
    assert (np.sort(np.asarray(split.place), axis=1)[:, :10] == np.arange(10)).all()


def test_repeats_stand_one_after_the_other():
    once = folds.k_fold(10, 2)
    twice = folds.repeated(once, folds.k_fold(10, 5))
    assert twice.test.shape == (7, 10)
    np.testing.assert_array_equal(twice.train[:2], once.train)


def test_learning_curves_take_the_first_rows_in_the_order_of_the_splitter():
    splits = [(np.array([4, 1, 3]), np.array([0, 2]))]
    masks = folds.first_rows(folds.from_indices(splits, 5), jnp.array([1, 2]))
    np.testing.assert_array_equal(masks[:, 0], [[0, 0, 0, 0, 1], [0, 1, 0, 0, 1]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: folds.k_fold(3, 5), "n_folds is 5, expected .* rows, 3"),
        (lambda: folds.k_fold(3, 1), "at least 2"),
        (lambda: folds.group_k_fold(np.zeros(4), 2), "number of groups, 1"),
        (lambda: folds.time_series_split(5, 4, gap=2), "nothing to train on"),
        (lambda: folds.shuffle_split(jax.random.key(0), 5, n_test=5), "n_train is 0"),
        (lambda: folds.from_indices([], 3), "at least one pair"),
        (lambda: folds.from_indices([(np.array([0, 0]), np.array([1]))], 3), "twice"),
    ],
)
def test_impossible_folds_are_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()
