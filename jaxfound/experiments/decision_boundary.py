"""Logistic regression in the plane: where the model changes its mind."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from sklearn import linear_model
from sklearn.datasets import make_classification
from sklearn.inspection import DecisionBoundaryDisplay

import jaxfound as jf
from jaxfound.experiments.figures import BLUE, INK, ORANGE, panel
from jaxfound.experiments.race import race
from jaxfound.experiments.registry import Check, Result, lesson

__all__ = ["run"]

FADE = LinearSegmentedColormap.from_list("fade", [BLUE, "white", ORANGE])
TIGHT = {"tol": 1e-10, "max_iter": 10_000}  # so that both stop at the optimum, not near it


@lesson(
    name="decision-boundary",
    title="The boundary of a logistic regression",
    question="Where does a classifier change its mind, and how sure is it nearby?",
    meaning=(
        "Both libraries draw the same line and give the same probabilities. A model moved from "
        "one to the other decides alike."
    ),
    order=70,
    tags=("classification",),
)
def run(quick: bool) -> Result:
    x, y = make_classification(
        n_samples=100,
        n_features=2,
        n_informative=2,
        n_redundant=0,
        n_clusters_per_class=1,
        random_state=42,
    )
    timed = race(
        lambda: jf.LogisticRegression(**TIGHT).fit(x, y),
        {"scikit-learn": lambda: linear_model.LogisticRegression(**TIGHT).fit(x, y)},
    )
    ours, theirs = timed.ours.value, timed.theirs["scikit-learn"].value
    return Result(
        checks=(
            Check("accuracy", ours.score(x, y), theirs.score(x, y), "scikit-learn", 0),
            Check("coefficients", ours.coef_, theirs.coef_, "scikit-learn", 1e-4),
            Check("intercept", ours.intercept_, theirs.intercept_, "scikit-learn", 1e-4),
            Check(
                "probabilities",
                ours.predict_proba(x),
                theirs.predict_proba(x),
                "scikit-learn",
                1e-4,
            ),
        ),
        figures={
            "A hundred points of two classes, and the line where both are equally likely": _draw(
                ours, x, y, resolution=80 if quick else 300
            )
        },
        formula="P(y = 1 | x) = σ(w₁x₁ + w₂x₂ + b)",
        notes=(
            "The fit minimises the log loss plus half the squared length of w, which keeps the "
            "weights finite even where a line separates the classes. The boundary is the line "
            "w₁x₁ + w₂x₂ + b = 0; the colour fades where the model is unsure."
        ),
        race=timed,
    )


def _draw(model, x, y, resolution):
    figure, axes = panel(xlabel="x₁", ylabel="x₂")
    view = {"ax": axes, "grid_resolution": resolution, "response_method": "predict_proba"}
    DecisionBoundaryDisplay.from_estimator(
        model, x, plot_method="pcolormesh", cmap=FADE, alpha=0.45, **view
    )
    DecisionBoundaryDisplay.from_estimator(
        model, x, plot_method="contour", levels=[0.5], colors=INK, **view
    )
    for label, colour in enumerate((BLUE, ORANGE)):
        mine = np.flatnonzero(y == label)
        axes.scatter(*x[mine].T, s=36, color=colour, edgecolor="white", label=f"class {label}")
    axes.set(xlabel="x₁", ylabel="x₂")
    axes.grid(visible=False)
    axes.legend()
    return figure
