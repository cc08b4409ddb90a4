"""Hyperparameters of two models on digits: every candidate and every fold in one program."""

from typing import Any

import numpy as np
from sklearn import linear_model, svm
from sklearn import model_selection as reference
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import jaxfound as jf
from jaxfound.estimators.search import GridSearchCV
from jaxfound.experiments.figures import BLUE, INK, panel
from jaxfound.experiments.race import race
from jaxfound.experiments.registry import Check, Result, lesson

__all__ = ["run"]

KERNEL = {"C": np.logspace(-1, 2, 4), "gamma": np.logspace(-4, -2, 5)}
PATH = {"logisticregression__C": np.logspace(-3, 0, 7)}
EXACT: dict[str, Any] = {"tol": 1e-8, "max_iter": 1000}  # else the last row or two may differ
FIXED: dict[str, Any] = {"cv": 5, "refit": False}


@lesson(
    name="search",
    title="A grid of kernels, and a path of penalties",
    question="Which settings of a model should be used?",
    meaning=(
        "Every candidate gets the score that scikit-learn gives it, so the same settings win. "
        "The whole search is one program, which an accelerator runs as it is."
    ),
    order=130,
    tags=("classification", "kernels", "model-selection"),
)
def run(quick: bool) -> Result:
    data: Any = load_digits(return_X_y=True)
    x, y = (part[:: 6 if quick else 3] for part in data)

    def ours():
        chain = make_pipeline(jf.StandardScaler(), jf.LogisticRegression(**EXACT))
        return _both(GridSearchCV, jf.SVC(), chain, x, y)

    def theirs():
        chain = make_pipeline(StandardScaler(), linear_model.LogisticRegression(**EXACT))
        return _both(reference.GridSearchCV, svm.SVC(), chain, x, y)

    timed = race(ours, {"scikit-learn": theirs})
    kernels, path = timed.ours.value
    their_kernels, their_path = timed.theirs["scikit-learn"].value
    return Result(
        checks=(
            Check("kernel grid", kernels, their_kernels, "scikit-learn", 1e-12),
            Check("penalty path", path, their_path, "scikit-learn", 1e-12),
        ),
        figures={
            "Held-out accuracy of the kernels": _draw_grid(kernels),
            "Held-out accuracy along the path": _draw_path(path),
        },
        formula="score(C, γ) = mean over folds of accuracy(fit(rows, fold, C, γ), rows, 1 - fold)",
        notes=(
            "A candidate is an index into a table of numbers and a fold an index into a table of "
            "masks, so the grid of "
            f"{kernels.size} kernels with five folds is one compiled program of {5 * kernels.size} "
            "fits. Along the path the scaler is fitted anew inside every fold: nothing of the rows "
            "held out leaks into it."
        ),
        race=timed,
    )


def _both(search, machine, chain, x, y):
    searches = search(machine, KERNEL, **FIXED), search(chain, PATH, **FIXED)
    return [s.fit(x, y).cv_results_["mean_test_score"] for s in searches]


def _draw_grid(scores):
    figure, axes = panel(xlabel="γ", ylabel="C")
    table = scores.reshape(len(KERNEL["C"]), -1)
    axes.imshow(table, cmap="Blues", aspect="auto", origin="lower")
    for (row, column), value in np.ndenumerate(table):
        colour = "white" if value > (table.min() + table.max()) / 2 else INK
        axes.text(column, row, f"{value:.3f}", ha="center", va="center", color=colour)
    axes.set(
        xticks=range(table.shape[1]),
        yticks=range(table.shape[0]),
        xticklabels=[f"{g:.0e}" for g in KERNEL["gamma"]],
        yticklabels=[f"{c:g}" for c in KERNEL["C"]],
    )
    axes.grid(visible=False)
    return figure


def _draw_path(scores):
    figure, axes = panel(xlabel="C", ylabel="accuracy")
    axes.semilogx(PATH["logisticregression__C"], scores, color=BLUE, marker="o")
    return figure
