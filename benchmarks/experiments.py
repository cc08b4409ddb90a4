"""Times whole experiments beside scikit-learn: `python -m benchmarks.experiments [NAME ...]`.

Ours is one compiled program; scikit-learn runs fit by fit, on all cores. The first call, with
compilation, is printed apart. Scores must agree, or no time is printed.
"""

import argparse
import dataclasses
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import decomposition, linear_model, model_selection, preprocessing, svm
from sklearn.datasets import load_digits, make_classification
from sklearn.pipeline import make_pipeline

import jaxfound as jf
import jaxfound.model_selection

__all__ = ["main"]


@dataclasses.dataclass(frozen=True)
class Experiment:
    name: str
    data: Callable[[], tuple[Any, Any]]
    ours: Any
    theirs: Any
    grid: dict[str, Any] | None = None  # None is a learning curve
    folds: int = 5
    tolerance: float = 1e-6  # of mean scores


def _linear(n, d, classify):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, d))
    signal = x @ rng.standard_normal(d)
    if not classify:
        return x, signal + rng.standard_normal(n)
    return x, (signal / 3 + rng.logistic(size=n) > 0).astype(int)


def _clusters():
    data: Any = make_classification(1000, 20, random_state=42)
    return data


def _digits():
    data: Any = load_digits(return_X_y=True)
    return data


EXPERIMENTS = (
    Experiment("svc-curve", _clusters, jf.SVC(), svm.SVC()),
    Experiment(
        "svc-grid",
        _clusters,
        jf.SVC(),
        svm.SVC(),
        {"C": np.logspace(-2, 3, 8), "gamma": np.logspace(-4, 1, 8)},
        tolerance=0.01,  # at large gamma the sign of a decision is rounding
    ),
    Experiment(
        "ridge-path",
        lambda: _linear(100_000, 64, classify=False),
        jf.Ridge(),
        linear_model.Ridge(),
        {"alpha": np.logspace(-3, 3, 64)},
        folds=10,
    ),
    Experiment(
        "logistic-path",
        lambda: _linear(100_000, 50, classify=True),
        jf.LogisticRegression(),
        linear_model.LogisticRegression(),
        {"C": np.logspace(-4, 2, 20)},
        folds=10,
        tolerance=1e-3,
    ),
    Experiment(
        "digits-pipeline",
        _digits,
        make_pipeline(jf.StandardScaler(), jf.PCA(), jf.LogisticRegression()),
        make_pipeline(
            preprocessing.StandardScaler(),
            decomposition.PCA(),
            linear_model.LogisticRegression(),
        ),
        {"pca__n_components": [8, 16, 24, 32, 48], "logisticregression__C": np.logspace(-3, 1, 8)},
        tolerance=5e-3,
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time whole experiments beside scikit-learn.")
    parser.add_argument("names", nargs="*", help="of experiments; default: all")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for experiment in EXPERIMENTS:
        if not options.names or experiment.name in options.names:
            print(_line(experiment, options.repeats), flush=True)


def _line(experiment, repeats):
    x, y = experiment.data()
    cold, scores = _time(_run, jaxfound.model_selection, experiment.ours, experiment, x, y)
    ours, theirs = [], []
    for _ in range(repeats):  # in turns, so that a slow moment hits both
        ours.append(_time(_run, jaxfound.model_selection, experiment.ours, experiment, x, y)[0])
        seconds, expected = _time(_run, model_selection, experiment.theirs, experiment, x, y)
        theirs.append(seconds)
    error = float(np.abs(scores - expected).max())
    if error > experiment.tolerance:
        return f"{experiment.name}: wrong, scores differ by {error:.1e}"
    a, b = statistics.median(ours), statistics.median(theirs)
    return (
        f"{experiment.name}: jaxfound {a:.3f} s (first {cold:.1f} s), scikit-learn on all cores "
        f"{b:.3f} s -> {b / a:.1f}x; scores differ by {error:.1e}"
    )


def _run(room, estimator, experiment, x, y):
    jobs = {"n_jobs": -1} if room is model_selection else {}
    if experiment.grid is None:
        sizes = np.linspace(0.1, 1, 10)
        return room.learning_curve(estimator, x, y, train_sizes=sizes, cv=5, **jobs)[2]
    search = room.GridSearchCV(estimator, experiment.grid, cv=experiment.folds, refit=False, **jobs)
    return search.fit(x, y).cv_results_["mean_test_score"]


def _time(call, *args):
    start = time.perf_counter()
    found = call(*args)
    return time.perf_counter() - start, found


if __name__ == "__main__":
    main()
