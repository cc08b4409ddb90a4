"""scikit-learn's functions of model selection, each one compiled program."""

from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.model_selection import check_cv
from sklearn.model_selection._validation import _translate_train_sizes
from sklearn.utils import _safe_indexing, check_random_state, indexable

from jaxfound._checks import check_choice
from jaxfound.estimators._experiment import (
    Limits,
    predicted,
    prepared,
    run,
    run_targets,
    scorers_of,
    variant,
)

__all__ = [
    "cross_val_predict",
    "cross_val_score",
    "cross_validate",
    "learning_curve",
    "permutation_test_score",
    "validation_curve",
]


def cross_validate(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    groups: Any = None,
    scoring: Any = None,
    cv: Any = None,
    params: dict[str, Any] | None = None,
    return_train_score: bool = False,
    return_estimator: bool = False,
    return_indices: bool = False,
    memory: str | int | None = None,
) -> dict[str, Any]:
    """Scores of a fit to every split of `X` `[n d]` and `y` `[n]`.

    Args:
      estimator: one of jaxfound's, or a `Pipeline` of them.
      groups, cv: as scikit-learn's.
      scoring: a name, a jittable metric of `(y, prediction, weight)`, or several of them as a list
        or a dictionary.
      params: `{"sample_weight": [n]}`, of the fits; scores are not weighted.
      return_train_score, return_estimator, return_indices: as scikit-learn's.
      memory: bytes, or such as "4GiB", that the temporary arrays may take.

    Returns:
      Arrays `[f]` under "test_score" (or "test_" and the name), "fit_time" and "score_time" in
      seconds: the time of all fits and scores, shared out evenly.

    Raises:
      TypeError: for an estimator that is not jaxfound's.
      ValueError: for bad data, splits or scoring.
    """
    splits = _splits(estimator, X, y, groups, cv)
    data = prepared(estimator, X, y, _weight_in(params))
    scorers, several = scorers_of(estimator, scoring)
    limits = Limits(memory=memory)
    found = run([estimator], data, splits, scorers, with_train=return_train_score, limits=limits)
    times = np.full(len(splits), found.seconds / len(splits))
    out: dict[str, Any] = {"fit_time": times, "score_time": np.zeros(len(splits))}
    if return_estimator:
        out["estimator"] = [_refitted(estimator, X, y, train, params) for train, _ in splits]
    if return_indices:
        out["indices"] = dict(zip(("train", "test"), zip(*splits, strict=True), strict=True))
    for name, _ in scorers:
        label = name if several else "score"
        out[f"test_{label}"] = found.test[name][0]
        if return_train_score:
            out[f"train_{label}"] = found.train[name][0]
    return out


def cross_val_score(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    groups: Any = None,
    scoring: Any = None,
    cv: Any = None,
    params: dict[str, Any] | None = None,
) -> np.ndarray:
    """Scores `[f]`; see `cross_validate`."""
    given = {"groups": groups, "scoring": scoring, "cv": cv, "params": params}
    return cross_validate(estimator, X, y, **given)["test_score"]


def learning_curve(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    train_sizes: Any = np.linspace(0.1, 1.0, 5),
    cv: Any = None,
    scoring: Any = None,
    shuffle: bool = False,
    random_state: Any = None,
    params: dict[str, Any] | None = None,
    return_times: bool = False,
) -> tuple[np.ndarray, ...]:
    """Scores of fits to the first rows of every split: sizes `[s]`, train and test `[s f]`.

    Args:
      train_sizes: numbers of rows, or shares of the largest.
      shuffle, random_state: whether, and how, the rows of a split are shuffled first.
      estimator, X, y, groups, cv, scoring, params: as of `cross_validate`.
      return_times: also return the times of fits and scores `[s f]`.
    """
    splits = _splits(estimator, X, y, groups, cv)
    sizes = _translate_train_sizes(train_sizes, len(splits[0][0]))
    if shuffle:
        rng = check_random_state(random_state)
        splits = [(rng.permutation(train), test) for train, test in splits]
    parts = [(train[:size], test) for size in sizes for train, test in splits]
    data = prepared(estimator, X, y, _weight_in(params))
    scorers, _ = scorers_of(estimator, scoring)
    found = run([estimator], data, parts, scorers[:1], with_train=True)
    shape = len(sizes), len(splits)
    scores = tuple(part["score"].reshape(shape) for part in (found.train, found.test))
    if not return_times:
        return sizes, *scores
    times = np.full(shape, found.seconds / len(parts))
    return sizes, *scores, times, np.zeros(shape)


def validation_curve(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    param_name: str,
    param_range: Any,
    groups: Any = None,
    cv: Any = None,
    scoring: Any = None,
    params: dict[str, Any] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Scores on the rows trained on and held out, each `[h f]`, over the values of a parameter."""
    splits = _splits(estimator, X, y, groups, cv)
    candidates = [variant(estimator, {param_name: value}) for value in param_range]
    data = prepared(estimator, X, y, _weight_in(params))
    scorers, _ = scorers_of(estimator, scoring)
    found = run(candidates, data, splits, scorers, with_train=True)
    return found.train["score"], found.test["score"]


def permutation_test_score(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    cv: Any = None,
    n_permutations: int = 100,
    random_state: Any = 0,
    scoring: Any = None,
    params: dict[str, Any] | None = None,
) -> tuple[float, np.ndarray, float]:
    """The score, the scores `[p]` with shuffled targets, and the share that is no worse."""
    rng = check_random_state(random_state)
    data = prepared(estimator, X, y, _weight_in(params))
    shuffled = [_shuffled(rng, groups, data) for _ in range(n_permutations)]
    targets = data.y[np.stack([np.arange(len(data.y)), *shuffled])]
    splits = [_splits(estimator, X, target, groups, cv) for target in targets]
    scorers, _ = scorers_of(estimator, scoring)
    score, *permuted = run_targets(estimator, data, splits, targets, scorers).mean(1)
    p_value = (np.sum(np.asarray(permuted) >= score) + 1) / (n_permutations + 1)
    return float(score), np.asarray(permuted), float(p_value)


def cross_val_predict(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    groups: Any = None,
    cv: Any = None,
    params: dict[str, Any] | None = None,
    method: str = "predict",
) -> np.ndarray:
    """For every row what the fit that did not see it says: `[n]`, or `[n k]` by the method.

    Args:
      method: "predict", "predict_proba", "predict_log_proba" or "decision_function".

    Raises:
      ValueError: if the splits do not hold out every row once.
    """
    splits = _splits(estimator, X, y, groups, cv)
    held_out = np.concatenate([test for _, test in splits])
    data = prepared(estimator, X, y, _weight_in(params))
    if not np.array_equal(np.sort(held_out), np.arange(len(data.x))):
        raise ValueError("cross_val_predict only works for partitions: every row is held out once.")
    output = _OUTPUTS[check_choice("method", method, _OUTPUTS)]
    found = predicted(estimator, data, splits, output)
    if method == "predict_log_proba":
        return np.log(found)
    return data.classes[found] if method == "predict" and data.classes is not None else found


_OUTPUTS = {
    "predict": "predict",
    "predict_proba": "predict_proba",
    "predict_log_proba": "predict_proba",
    "decision_function": "decision",
}


def _splits(estimator, X, y, groups, cv):
    X, y, groups = indexable(X, y, groups)
    splitter: Any = check_cv(cv, y, classifier=is_classifier(estimator))
    return list(splitter.split(X, y, groups))


def _shuffled(rng, groups, data):
    """An order of the rows: any, or within groups."""
    if groups is None:
        return rng.permutation(len(data.y))
    order = np.arange(len(data.y))
    for group in np.unique(groups):
        inside = np.asarray(groups) == group
        order[inside] = rng.permutation(order[inside])
    return order


def _weight_in(params):
    params = dict(params or {})
    weight = params.pop("sample_weight", None)
    if params:
        raise ValueError(f"params has {sorted(params)}, expected 'sample_weight' at most.")
    return weight


def _refitted(estimator, X, y, train, params):
    weight = _weight_in(params)
    given = {} if weight is None else {"sample_weight": np.asarray(weight)[train]}
    return variant(estimator, {}).fit(_safe_indexing(X, train), _safe_indexing(y, train), **given)
