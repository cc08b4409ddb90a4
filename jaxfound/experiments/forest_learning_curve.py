"""A learning curve of fifty forests, 5,000 trees, as one compiled program."""

from typing import Any

import numpy as np
from sklearn import ensemble as reference
from sklearn import model_selection as reference_selection
from sklearn.datasets import make_regression

from jaxfound.estimators.forest import RandomForestRegressor
from jaxfound.estimators.validation import learning_curve
from jaxfound.experiments import figures
from jaxfound.experiments.race import race
from jaxfound.experiments.registry import Check, Result, lesson

__all__ = ["run"]

CURVE = {"cv": 5, "scoring": "neg_mean_squared_error"}


@lesson(
    name="forest-learning-curve",
    title="Five thousand trees are one program",
    question="How much data does a forest need to learn a smooth function?",
    meaning=(
        "The error on new rows still falls at the end of the curve, so more data would help. "
        "Thousands of trees for such a question are grown by one compiled program."
    ),
    order=160,
    tags=("regression", "trees", "model-selection"),
)
def run(quick: bool) -> Result:
    data: Any = make_regression(n_samples=1000, n_features=10, noise=0.1, random_state=42)
    sizes = np.linspace(0.1, 1.0, 3 if quick else 10)
    theirs = reference_selection.learning_curve

    timed = race(
        lambda: learning_curve(RandomForestRegressor(), *data, train_sizes=sizes, **CURVE),
        {
            "scikit-learn": lambda: theirs(
                reference.RandomForestRegressor(random_state=0),
                *data,
                train_sizes=sizes,
                n_jobs=-1,
                **CURVE,
            )
        },
    )
    rows, train, test = timed.ours.value
    _, their_train, their_test = timed.theirs["scikit-learn"].value
    scale = data[1].var()
    return Result(
        checks=tuple(
            Check(name, -ours.mean(1) / scale, -ref.mean(1) / scale, "scikit-learn", 0.02)
            for name, ours, ref in (
                ("held-out error, as a share of the variance", test, their_test),
                ("training error, as a share of the variance", train, their_train),
            )
        ),
        figures={
            "Squared error by the number of training rows, mean and band of five folds": _draw(
                rows, train, test
            )
        },
        formula="train row ⇔ weight 1    drawn twice ⇔ weight 2",
        notes=(
            "Folds, sizes and bootstrap samples are all weights of the same thousand rows, so one "
            "program grows every tree. A forest fits its training rows far better than new ones, "
            "and the gap closes slowly: a smooth function costs many steps."
        ),
        race=timed,
    )


def _draw(sizes, train, test):
    figure, axes = figures.learning_curve(
        sizes, train, test, score="mean squared error", is_error=True
    )
    axes.set(ylim=(0, None))
    axes.legend(axes.lines, ["training", "held out"])
    return figure
