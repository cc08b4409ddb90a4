"""Runs what scikit-learn's model selection would run fit by fit as one compiled program."""

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array, check_X_y, column_or_1d
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.validation import _check_sample_weight

from jaxfound._checks import check_number
from jaxfound._config import settings
from jaxfound.estimators._base import FLOATS, bucket
from jaxfound.estimators._functional import Functional, Shape, functional
from jaxfound.estimators._scope import compute_scope
from jaxfound.model_selection import execute, folds, hypergrad, lanes, sharing
from jaxfound.model_selection.scoring import SCORERS, Scorer
from jaxfound.models import svm

__all__ = [
    "Data",
    "Limits",
    "Outcome",
    "climbed",
    "predicted",
    "prepared",
    "run",
    "run_targets",
    "scorers_of",
    "variant",
]

_CHECKS: dict[str, Any] = {"dtype": FLOATS}


class Data(NamedTuple):
    """A table on the host, without padding."""

    x: np.ndarray
    y: np.ndarray  # targets, or indices into the classes
    weight: np.ndarray | None
    classes: np.ndarray | None


class Limits(NamedTuple):
    """How an experiment may run."""

    memory: str | int | None = None
    journal: str | Path | None = None
    progress: Callable[[int, lanes.Scores], None] = lambda n, scores: None


class Outcome(NamedTuple):
    test: dict[str, np.ndarray]  # [candidates splits]
    train: dict[str, np.ndarray]
    seconds: float  # of all fits and scores together


def variant(estimator: Any, settings: dict[str, Any]) -> Any:
    """A fresh copy with other settings."""
    copy: Any = clone(estimator)
    return copy.set_params(**{name: clone(value, safe=False) for name, value in settings.items()})


def prepared(estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> Data:
    """Checks the data once for all fits.

    Raises:
      ValueError: for NaN, infinity, wrong shapes or a missing `y`.
    """
    if y is None:
        raise ValueError("y is None, expected targets: the models here are supervised.")
    host = np.asarray if isinstance(X, jax.Array) else (lambda a: a)
    classify, checks = is_classifier(estimator), _CHECKS
    if classify:
        x, y = check_array(host(X), **checks), column_or_1d(np.asarray(y), warn=True)
        if len(y) != len(x):
            raise ValueError(f"y has {len(y)} rows, expected {len(x)} as X has: one label a row.")
    else:
        x, y = check_X_y(host(X), y, multi_output=True, y_numeric=True, **checks)
    x = x.astype(settings().dtype or x.dtype, copy=False)
    weight = None if sample_weight is None else _check_sample_weight(sample_weight, x)
    if not classify:
        return Data(x, y.astype(x.dtype), weight, None)
    classes, index = np.unique(y, return_inverse=True)
    return Data(x, index.astype(np.int32), weight, classes)


def scorers_of(estimator: Any, scoring: Any) -> tuple[tuple[tuple[str, Scorer], ...], bool]:
    """Names and scorers, and whether there are several.

    Raises:
      ValueError: for scikit-learn's scorers other than by a name that is known here.
    """
    default = "accuracy" if is_classifier(estimator) else "r2"
    if isinstance(scoring, list | tuple | set):
        names = [name for name in scoring if isinstance(name, str)]
        if not names or len(set(names)) < len(scoring):
            raise ValueError(
                f"scoring is {scoring!r}, expected one or more names, which must be unique strings."
            )
        scoring = {name: name for name in scoring}
    several = isinstance(scoring, dict)
    given = scoring if several else {"score": default if scoring is None else scoring}
    return tuple((name, _scorer(value)) for name, value in given.items()), several


def run(
    candidates: Sequence[Any],
    data: Data,
    splits: Sequence[tuple[Any, Any]],
    scorers: tuple[tuple[str, Scorer], ...],
    *,
    with_train: bool = False,
    limits: Limits = Limits(),
) -> Outcome:
    """Fits every candidate to every split and scores it.

    Candidates that differ in numbers only share a program; each other setting has one of its own.

    Raises:
      TypeError: for an estimator that is not jaxfound's.
    """
    start = time.perf_counter()
    masks = folds.from_indices(splits, len(data.x))
    found = [functional(one, _shape(data, splits)) for one in candidates]
    empty = np.full((len(candidates), len(splits)), np.nan)
    test = {name: empty.copy() for name, _ in scorers}
    train = {name: empty.copy() for name, _ in scorers} if with_train else {}
    for rows in _groups(found):
        members = [found[i] for i in rows]
        mask, candidate = np.indices((len(splits), len(rows)), np.int32).reshape(2, -1)
        every = lanes.Lanes(mask, candidate, 0 * mask)
        part = _run(members, data, masks, data.y[None], scorers, with_train, every, limits)
        for into, scores in ((test, part.test), (train, part.train)):
            for name, values in scores.items():
                into[name][rows] = values.reshape(-1, len(rows)).T
    return Outcome(test, train, time.perf_counter() - start)


def run_targets(
    estimator: Any,
    data: Data,
    splits: Sequence[Sequence[tuple[Any, Any]]],
    targets: np.ndarray,
    scorers: tuple[tuple[str, Scorer], ...],
) -> np.ndarray:
    """The first score of the estimator with each of the targets `[p n]` on its splits, `[p f]`."""
    flat = [split for own in splits for split in own]
    found = functional(estimator, _shape(data, flat))
    mask = np.arange(len(flat), dtype=np.int32)
    every = lanes.Lanes(mask, 0 * mask, mask // len(splits[0]))
    masks = folds.from_indices(flat, len(data.x))
    scores = _run([found], data, masks, targets, scorers, False, every, Limits())
    return scores.test[scorers[0][0]].reshape(len(targets), -1)


def predicted(estimator: Any, data: Data, splits: Sequence[tuple[Any, Any]], output: Any) -> Any:
    """For every row the output of the fit that did not see it, `[n]` or `[n k]`.

    Raises:
      TypeError: for an estimator that is not jaxfound's.
      ValueError: for an output that the model does not have.
    """
    masks = folds.from_indices(splits, len(data.x))
    found = functional(estimator, _shape(data, splits))
    task, hypers = _task([found], data.x, (("score", Scorer(_nothing, output)),), False)
    with _scope(task.model, data):
        plan = _plan(found, hypers, data, masks, data.y[None])
        return np.asarray(lanes.held_out(task, plan))[: len(data.x)]


def climbed(
    estimator: Any,
    settings: Sequence[str],
    data: Data,
    splits: Sequence[tuple[Any, Any]],
    scorers: tuple[tuple[str, Scorer], ...],
    **options: Any,
) -> tuple[dict[str, float], hypergrad.Learned]:
    """The values of the settings that `hypergrad.learn` ends with.

    Raises:
      TypeError: for an estimator that is not jaxfound's, or a setting that is no number.
      ValueError: for a setting that is not positive, or that no gradient reaches.
    """
    masks, shape = folds.from_indices(splits, len(data.x)), _shape(data, splits)
    found = functional(estimator, shape)
    names = {name: _leaf_of(estimator, name, found, shape) for name in settings}
    task, hypers = _task([found], data.x, scorers, False)
    with _scope(task.model, data):
        plan = _plan(found, hypers, data, masks, data.y[None])
        masks = masks._replace(train=plan.train, test=plan.test)
        given = plan.x, plan.targets[0], masks, plan.hypers, plan.key
        options |= {"scoring": scorers[0][1], "config": task.config}
        learned = hypergrad.learn(task.model, *given, names=tuple(names.values()), **options)
        learned = jax.tree.map(np.asarray, learned)
    leaves = hypergrad.leaves_by_name(learned.hyper)
    return {name: float(leaves[leaf]) for name, leaf in names.items()}, learned


def _leaf_of(estimator, name, found, shape):
    """The leaf of the hyper that a setting becomes: the one that moves with it."""
    value = estimator.get_params().get(name)
    check_number(f"{name} of the estimator", value, above=0)
    before = hypergrad.leaves_by_name(found.hyper)
    moved = functional(variant(estimator, {name: 2 * value}), shape)
    after = hypergrad.leaves_by_name(moved.hyper)
    same = moved.model == found.model and moved.config == found.config
    leaves = [leaf for leaf in before if (before[leaf], after[leaf]) == (value, 2 * value)]
    if not (same and len(leaves) == 1):
        raise ValueError(f"{name} is no number with a gradient, expected one such as a penalty.")
    return leaves[0]


def _run(members, data, masks, targets, scorers, with_train, every, limits):
    task, hypers = _task(members, data.x, scorers, with_train)
    with _scope(task.model, data):
        plan = _plan(members[0], hypers, data, masks, targets)
        task = sharing.with_few_rows(task, plan.train, plan.test)
        scores = execute.execute(task, plan, every, **limits._asdict())
    if getattr(task.config, "solver", None) != "gd":  # takes the steps asked for, and no more
        _warn_of(scores.converged)
    return scores


def _task(members, x, scorers, with_train):
    """The task, and the hypers of its candidates: stacked where they differ."""
    model, _, config, _ = members[0]
    last = getattr(model, "stages", (model,))[-1]
    for name, scorer in scorers:
        if not hasattr(last, scorer.output):
            raise ValueError(
                f"{name!r} reads {scorer.output} of the model, which {last.__name__} does not "
                "have: expected a metric of its predictions."
            )
    tree = jax.tree.structure(members[0].hyper)
    columns = zip(*(map(float, jax.tree.leaves(m.hyper)) for m in members), strict=True)
    leaves = [np.array(column) for column in columns]
    varies = tuple(bool((leaf != leaf[0]).any()) for leaf in leaves)
    hypers = [leaf if v else leaf[0] for leaf, v in zip(leaves, varies, strict=True)]
    hypers = jax.tree.unflatten(tree, hypers)
    task = lanes.Task(model, config, scorers, with_train)
    return sharing.with_candidates(task, hypers, varies, len(members), x), hypers


def _scope(model, data):
    wide = svm in getattr(model, "stages", (model,))  # its slopes are float64 for any data
    return compute_scope(np.dtype(np.float64) if wide else data.x.dtype)


def _shape(data, splits):
    fewest = min(len(train) for train, _ in splits)
    n, d = data.x.shape
    k = None if data.classes is None else len(data.classes)
    largest = n if k is None else int(np.bincount(data.y, minlength=k).max())
    return Shape(fewest, d, k, largest, data.x.dtype)


def _plan(found, hypers, data, masks, targets):
    rows, dtype = bucket(*data.x.shape) - len(data.x), data.x.dtype
    train = np.asarray(masks.train, dtype)
    for factor in (data.weight, _class_weights(found, data, masks)):
        train = train if factor is None else train * factor.astype(dtype)

    def padded(array, axis):
        ends = [(0, rows if i == axis else 0) for i in range(array.ndim)]
        return np.pad(array, ends) if rows else array

    test = np.asarray(masks.test, dtype)
    given = padded(data.x, 0), *(padded(a, 1) for a in (targets, train, test)), hypers
    return lanes.Plan._make((*jax.tree.map(jnp.asarray, given), jax.random.key(0)))


def _class_weights(first, data, masks):
    """`[f n]`, or None for ones: of every row in every fold; "balanced" depends on the fold."""
    if first.class_weight is None:
        return None
    labels = data.classes[data.y]
    rows = []
    for inside in np.asarray(masks.train) > 0:
        known = np.unique(labels[inside])
        weights = compute_class_weight(first.class_weight, classes=known, y=labels[inside])
        place = np.searchsorted(known, labels).clip(max=len(known) - 1)
        rows.append(weights[place])
    return np.stack(rows)


def _groups(found: Sequence[Functional]):
    """Indices of the candidates that one program can run, those that may share work together."""
    groups: dict[Any, list[int]] = {}
    for i, one in enumerate(found):
        key = (one.model, one.config, jax.tree.structure(one.hyper), repr(one.class_weight))
        groups.setdefault(key, []).append(i)
    return [sorted(rows, key=lambda i: _place(found[i])) for rows in groups.values()]


def _place(one):
    return tuple(map(float, sharing.sorted_by(one.model, one.hyper)))


def _nothing(y, output, weight):
    del y, output, weight


def _scorer(given):
    if isinstance(given, Scorer):
        return given
    if isinstance(given, str) and given in SCORERS:
        return SCORERS[given]
    if callable(given) and not hasattr(given, "_score_func"):
        return Scorer(given)
    known = ", ".join(map(repr, SCORERS))
    raise ValueError(
        f"scoring is {given!r}, expected one of {known}, a jittable function of (y, prediction, "
        "weight), or a model_selection.scoring.Scorer: scikit-learn's other scorers run in "
        "sklearn.model_selection only."
    )


def _warn_of(converged):
    lost = int((~converged).sum())
    if lost:
        warnings.warn(
            f"{lost} of {converged.size} fits did not converge: raise max_iter or tol, or scale "
            "the features.",
            ConvergenceWarning,
            stacklevel=4,
        )
