"""Whole experiments, ours as one compiled program, scikit-learn's fit by fit on all cores."""

import dataclasses
from typing import Any

import numpy as np
from sklearn import decomposition, linear_model, model_selection, preprocessing, svm
from sklearn.pipeline import make_pipeline

import jaxfound as jf
import jaxfound.model_selection

__all__ = ["EXPERIMENTS", "Experiment", "ours", "theirs"]


@dataclasses.dataclass(frozen=True)
class Experiment:
    ours: Any
    theirs: Any
    grid: dict[str, Any] | None = None  # None is a learning curve
    folds: int = 5


EXPERIMENTS = {
    "svc-curve": Experiment(jf.SVC(), svm.SVC()),
    "svc-grid": Experiment(
        jf.SVC(), svm.SVC(), {"C": np.logspace(-2, 3, 8), "gamma": np.logspace(-4, 0, 8)}
    ),
    "ridge-path": Experiment(
        jf.Ridge(), linear_model.Ridge(), {"alpha": np.logspace(-3, 3, 64)}, folds=10
    ),
    "logistic-path": Experiment(
        jf.LogisticRegression(),
        linear_model.LogisticRegression(),
        {"C": np.logspace(-4, 2, 20)},
        folds=10,
    ),
    "digits-pipeline": Experiment(
        make_pipeline(jf.StandardScaler(), jf.PCA(), jf.LogisticRegression()),
        make_pipeline(
            preprocessing.StandardScaler(),
            decomposition.PCA(),
            linear_model.LogisticRegression(),
        ),
        {"pca__n_components": [8, 16, 24, 32, 48], "logisticregression__C": np.logspace(-3, 1, 8)},
    ),
}


def ours(experiment: Experiment, x: Any, y: Any) -> np.ndarray:
    """Scores of every candidate, or of every size and fold."""
    return _scores(jaxfound.model_selection, experiment.ours, experiment, x, y)


def theirs(experiment: Experiment, x: Any, y: Any) -> np.ndarray:
    return _scores(model_selection, experiment.theirs, experiment, x, y, n_jobs=-1)


def _scores(room: Any, estimator, experiment, x, y, **jobs):
    if experiment.grid is None:
        sizes = np.linspace(0.1, 1, 10)
        return np.asarray(room.learning_curve(estimator, x, y, train_sizes=sizes, cv=5, **jobs)[2])
    search = room.GridSearchCV(estimator, experiment.grid, cv=experiment.folds, refit=False, **jobs)
    return np.asarray(search.fit(x, y).cv_results_["mean_test_score"])
