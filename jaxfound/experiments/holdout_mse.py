"""A line learned from eighty points and judged on twenty that it has never seen."""

import jax
import numpy as np
from sklearn import linear_model, metrics
from sklearn.model_selection import train_test_split

import jaxfound as jf
from jaxfound.experiments.figures import BLUE, GREY, ORANGE, panel
from jaxfound.experiments.race import race
from jaxfound.experiments.registry import Check, Result, lesson
from jaxfound.metrics import mean_squared_error

__all__ = ["run"]


@lesson(
    name="holdout-mse",
    title="Error on points held out",
    question="How wrong will a fitted line be on points that it has not seen?",
    meaning=(
        "The error on new points is close to the noise in the data, so the line has learned what "
        "there was to learn. Only rows kept out of the fit can say so."
    ),
    order=30,
    tags=("regression", "model-selection"),
)
def run(quick: bool) -> Result:
    del quick  # a hundred points take no time
    x, y = _points()
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, random_state=42)

    def mse(estimator, error):
        return error(y_test, estimator.fit(x_train, y_train).predict(x_test))

    with jax.enable_x64(True):  # the metric is a JAX function: it would round to float32
        timed = race(
            lambda: mse(jf.LinearRegression(), mean_squared_error),
            {
                "scikit-learn": lambda: mse(
                    linear_model.LinearRegression(), metrics.mean_squared_error
                ),
                "NumPy": lambda: _mse_by_hand(x_train, x_test, y_train, y_test),
            },
        )
    model = jf.LinearRegression().fit(x_train, y_train)
    return Result(
        checks=tuple(
            Check("test MSE", timed.ours.value, rival.value, name, 1e-10)
            for name, rival in timed.theirs.items()
        ),
        figures={
            "Eighty points to learn from, twenty to be judged on": _draw(
                x_train, y_train, x_test, y_test, model
            )
        },
        formula="MSE = 1/m Σ (yᵢ − ŷᵢ)²",
        notes=(
            "The data are y = 2x + 1 with noise of standard deviation 0.1, so no model can expect "
            "a mean squared error far below 0.1² = 0.01 on new points. The error is measured on "
            "the fifth of the data that the fit has not seen; on its own data it would flatter."
        ),
        race=timed,
    )


def _points():
    random = np.random.RandomState(42)  # the legacy stream: the numbers of the classic lesson
    x = random.rand(100, 1)
    return x, 2 * x[:, 0] + 1 + 0.1 * random.randn(100)


def _mse_by_hand(x_train, x_test, y_train, y_test):
    design = np.column_stack([x_train, np.ones(len(x_train))])
    slope, intercept = np.linalg.lstsq(design, y_train)[0]
    return np.mean((y_test - slope * x_test[:, 0] - intercept) ** 2)


def _draw(x_train, y_train, x_test, y_test, model):
    figure, axes = panel(xlabel="x", ylabel="y")
    line = np.array([[0.0], [1.0]])
    axes.plot(x_train[:, 0], y_train, "o", color=GREY, markersize=5, label="training points")
    axes.plot(x_test[:, 0], y_test, "o", color=ORANGE, markersize=6, label="test points")
    axes.plot(line[:, 0], model.predict(line), color=BLUE, label="fitted line")
    axes.legend()
    return figure
