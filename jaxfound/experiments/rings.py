"""A support vector machine with a Gaussian kernel: a circle inside a cloud of points."""

from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from sklearn import svm
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import train_test_split

import jaxfound as jf
from jaxfound.experiments.figures import BLUE, INK, ORANGE, panel
from jaxfound.experiments.race import race
from jaxfound.experiments.registry import Check, Result, lesson

__all__ = ["run"]

FADE = LinearSegmentedColormap.from_list("fade", [BLUE, "white", ORANGE])
SHADE = LinearSegmentedColormap.from_list("shade", ["white", BLUE])
NAMES = ("inside", "outside")


@lesson(
    name="rings",
    title="A support vector machine finds a circle",
    question="Can a classifier find a boundary that is no line?",
    meaning=(
        "The machine draws the circle, and keeps exactly the points that scikit-learn keeps to "
        "hold it. A model of curved boundaries moves between the libraries as well."
    ),
    order=110,
    tags=("classification", "kernels"),
)
def run(quick: bool) -> Result:
    x_train, x_test, y_train, y_test = _data()
    timed = race(
        lambda: jf.SVC().fit(x_train, y_train),
        {"scikit-learn": lambda: svm.SVC().fit(x_train, y_train)},
    )
    ours, theirs = timed.ours.value, timed.theirs["scikit-learn"].value
    return Result(
        checks=(
            Check(
                "accuracy",
                ours.score(x_test, y_test),
                theirs.score(x_test, y_test),
                "scikit-learn",
                0,
            ),
            Check("support vectors", ours.support_, theirs.support_, "scikit-learn", 0),
            # Both stop at a gap of 1e-3 in the optimality conditions.
            Check(
                "decisions",
                ours.decision_function(x_test),
                theirs.decision_function(x_test),
                "scikit-learn",
                5e-3,
            ),
        ),
        figures={
            "The boundary, its margins and the points that hold them": _draw_boundary(
                ours, x_test, y_test, resolution=80 if quick else 300
            ),
            "Which of the 200 points held out are taken for which": _draw_confusion(
                ours, x_test, y_test
            ),
        },
        formula="f(x) = Σ βᵢ exp(−γ‖x − xᵢ‖²) + b",
        notes=(
            "No line separates the inside of a circle from its outside, but the kernel compares "
            "points by their distance and needs none. Only the support vectors, on or inside the "
            "margins f = ±1 of the training set, have a weight β that is not zero."
        ),
        race=timed,
    )


def _data():
    rng = np.random.RandomState(42)
    x = rng.randn(1000, 2)
    y = (x[:, 0] ** 2 + x[:, 1] ** 2 > 1).astype(int)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, random_state=42)
    scaler = jf.StandardScaler().fit(x_train)
    return scaler.transform(x_train), scaler.transform(x_test), y_train, y_test


def _draw_boundary(model, x, y, resolution):
    figure, axes = panel(xlabel="x₁", ylabel="x₂")
    view = {"ax": axes, "grid_resolution": resolution, "response_method": "decision_function"}
    DecisionBoundaryDisplay.from_estimator(
        model, x, plot_method="pcolormesh", cmap=FADE, vmin=-3, vmax=3, alpha=0.45, **view
    )
    DecisionBoundaryDisplay.from_estimator(
        model,
        x,
        plot_method="contour",
        levels=[-1, 0, 1],
        colors=INK,
        linestyles=["dotted", "solid", "dotted"],
        **view,
    )
    for label, colour in enumerate((BLUE, ORANGE)):
        mine = np.flatnonzero(y == label)
        axes.scatter(*x[mine].T, s=24, color=colour, edgecolor="white", label=NAMES[label])
    support = model.support_vectors_
    axes.scatter(*support.T, s=14, color=INK, marker="x", linewidth=0.8, label="support vector")
    axes.set(xlabel="x₁", ylabel="x₂", xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), aspect="equal")
    axes.grid(visible=False)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _draw_confusion(model, x, y):
    figure, axes = panel(xlabel="", ylabel="", width=4.6)
    look: dict[str, Any] = {"display_labels": NAMES, "cmap": SHADE, "ax": axes}
    ConfusionMatrixDisplay.from_predictions(y, model.predict(x), **look)
    axes.set(xlabel="predicted", ylabel="true")
    axes.grid(visible=False)
    return figure
