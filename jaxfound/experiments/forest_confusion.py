"""A random forest beside scikit-learn's: which classes it confuses, and what it looked at."""

from typing import Any

import numpy as np
from sklearn import ensemble as reference
from sklearn.datasets import make_classification
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix
from sklearn.model_selection import train_test_split

from jaxfound.estimators.forest import RandomForestClassifier
from jaxfound.experiments.figures import panel
from jaxfound.experiments.race import race
from jaxfound.experiments.registry import Check, Result, lesson

__all__ = ["run"]

SEEDS = 5
CLASSES = ["0", "1"]


@lesson(
    name="forest-confusion",
    title="A hundred trees vote",
    question="Which mistakes does a forest make, and are they those of scikit-learn's?",
    meaning=(
        "The share of right answers, the kinds of mistakes and the ranking of the inputs agree "
        "within what chance alone does. With the same seed, a forest is the same to the last bit."
    ),
    order=150,
    tags=("classification", "trees"),
)
def run(quick: bool) -> Result:
    del quick  # fewer forests would differ by chance alone
    seeds = range(SEEDS)
    data: Any = make_classification(
        n_samples=1000, n_features=20, n_informative=2, n_redundant=10, random_state=42
    )
    X_train, X_test, y_train, y_test = train_test_split(*data, test_size=0.2, random_state=42)

    def forests(kind):
        return [kind(random_state=seed, n_jobs=-1).fit(X_train, y_train) for seed in seeds]

    timed = race(
        lambda: forests(RandomForestClassifier),
        {"scikit-learn": lambda: forests(reference.RandomForestClassifier)},
    )
    ours, theirs = timed.ours.value, timed.theirs["scikit-learn"].value
    again = RandomForestClassifier(random_state=0).fit(X_train, y_train)
    mixed, their_mixed = (_shares(models, X_test, y_test) for models in (ours, theirs))
    return Result(
        checks=(
            Check(
                "held-out accuracy, mean of seeds",
                np.mean([model.score(X_test, y_test) for model in ours]),
                np.mean([model.score(X_test, y_test) for model in theirs]),
                "scikit-learn",
                0.015,
            ),
            Check("confusion matrix, shares", mixed, their_mixed, "scikit-learn", 0.015),
            Check(
                "importance of the features",
                np.mean([model.feature_importances_ for model in ours], 0),
                np.mean([model.feature_importances_ for model in theirs], 0),
                "scikit-learn",
                0.05,
            ),
            Check(
                "the same seed again",
                again.predict_proba(X_test),
                ours[0].predict_proba(X_test),
                "exact",
                0.0,
            ),
        ),
        figures={"What 200 held-out rows are taken for": _draw(ours[0], X_test, y_test)},
        formula="i(t) − (n_L/N) i(t_L) − (n_R/N) i(t_R) → max",
        notes=(
            "A tree asks one question of one feature in every node, the one that leaves the "
            "classes least mixed. A forest lets many of them vote, each grown on rows drawn with "
            "replacement and on few features a node, so that their errors differ."
        ),
        race=timed,
    )


def _shares(models, X, y):
    found = [confusion_matrix(y, model.predict(X), normalize="all") for model in models]
    return np.mean(found, 0)


def _draw(model, X, y):
    figure, axes = panel(xlabel="", ylabel="")
    axes.grid(visible=False)
    display = ConfusionMatrixDisplay(confusion_matrix(y, model.predict(X)), display_labels=CLASSES)
    display.plot(ax=axes, cmap="Blues", colorbar=False, text_kw={"fontsize": 18})
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted class", ylabel="true class")
    return figure
