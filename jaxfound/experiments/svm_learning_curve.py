"""A learning curve of 50 fits as one compiled program: folds and sizes are row weights."""

from typing import Any

import numpy as np
from sklearn import model_selection as reference_selection
from sklearn import svm as reference
from sklearn.datasets import make_classification

from jaxfound.estimators.svm import SVC
from jaxfound.estimators.validation import learning_curve
from jaxfound.experiments import figures
from jaxfound.experiments.race import race
from jaxfound.experiments.registry import Check, Result, lesson

__all__ = ["run"]

CURVE = {"train_sizes": np.linspace(0.1, 1.0, 10), "cv": 5}


@lesson(
    name="svm-learning-curve",
    title="A learning curve is one program",
    question="Would more data help this classifier?",
    meaning=(
        "The curve of held-out accuracy tells whether to collect more rows or to change the "
        "model. All its fits are one compiled program, with the numbers of scikit-learn."
    ),
    order=120,
    tags=("classification", "kernels", "model-selection"),
)
def run(quick: bool) -> Result:
    del quick  # one program is quick as it is
    data: Any = make_classification(n_samples=1000, n_features=20, random_state=42)
    theirs = reference_selection.learning_curve

    timed = race(
        lambda: learning_curve(SVC(), *data, **CURVE),
        {"scikit-learn": lambda: theirs(reference.SVC(), *data, **CURVE)},
    )
    sizes, train, test = timed.ours.value
    _, their_train, their_test = timed.theirs["scikit-learn"].value
    return Result(
        checks=(
            Check("held-out accuracy", test, their_test, "scikit-learn", 1e-12),
            Check("training accuracy", train, their_train, "scikit-learn", 1e-12),
        ),
        figures={
            "Accuracy by the number of training rows, mean and band of five folds": _draw(
                sizes, train, test
            )
        },
        formula="train row ⇔ weight 1    held-out row ⇔ weight 0",
        notes=(
            "Ten sizes times five folds are fifty rows of weights over the same thousand rows, so "
            "one compiled program fits them all, each to its own end. A row of weight 0 takes no "
            "part in the fit, and its decision is known at the end of it."
        ),
        race=timed,
    )


def _draw(sizes, train, test):
    figure, axes = figures.learning_curve(sizes, train, test, score="accuracy")
    axes.legend(axes.lines, ["training", "held out"], loc="center right")
    return figure
