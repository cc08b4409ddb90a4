"""Five points and the line through them: the smallest regression, with an answer known by hand."""

import numpy as np
from sklearn import linear_model

import jaxfound as jf
from jaxfound.experiments.figures import BLUE, GREY, INK, panel
from jaxfound.experiments.race import race
from jaxfound.experiments.registry import Check, Result, lesson

__all__ = ["FIVE_X", "FIVE_Y", "run"]

FIVE_X = np.array([[1.0], [2.0], [3.0], [4.0], [5.0]])
FIVE_Y = np.array([2.0, 4.0, 5.0, 4.0, 5.0])


@lesson(
    name="slope-intercept",
    title="The line through five points",
    question="Which line lies closest to five points?",
    meaning=(
        "Three programs find the line that can be worked out by hand. An answer known in advance "
        "is the first test that any library should pass."
    ),
    order=20,
    tags=("regression",),
)
def run(quick: bool) -> Result:
    del quick  # five points take no time
    timed = race(
        lambda: jf.LinearRegression().fit(FIVE_X, FIVE_Y),
        {
            "scikit-learn": lambda: linear_model.LinearRegression().fit(FIVE_X, FIVE_Y),
            "NumPy": lambda: np.polyfit(FIVE_X[:, 0], FIVE_Y, 1),
        },
    )
    ours, theirs = timed.ours.value, timed.theirs["scikit-learn"].value
    return Result(
        checks=(
            Check("slope", ours.coef_[0], 0.60, "exact", 1e-12),
            Check("slope", ours.coef_[0], timed.theirs["NumPy"].value[0], "NumPy", 1e-12),
            Check("slope", ours.coef_[0], theirs.coef_[0], "scikit-learn", 1e-12),
            Check("intercept", ours.intercept_, 2.20, "exact", 1e-12),
            Check("intercept", ours.intercept_, timed.theirs["NumPy"].value[1], "NumPy", 1e-12),
            Check("intercept", ours.intercept_, theirs.intercept_, "scikit-learn", 1e-12),
        ),
        figures={"Five points, the line, and what it misses": _draw(ours.predict(FIVE_X))},
        formula="ŷ = 0.60 x + 2.20",
        notes=(
            "The slope is the covariance of x and y over the variance of x, 6 / 10, and the line "
            "passes through the mean point (3, 4). No other line has a smaller sum of squared "
            "residuals, the dotted lengths in the figure."
        ),
        race=timed,
    )


def _draw(predicted):
    figure, axes = panel(xlabel="x", ylabel="y")
    x = FIVE_X[:, 0]
    axes.vlines(x, predicted, FIVE_Y, color=GREY, linestyle=":", label="residuals")
    axes.plot(x, predicted, color=BLUE, label="fitted line")
    axes.plot(x, FIVE_Y, "o", color=INK, label="data")
    axes.legend(loc="lower right")
    return figure
