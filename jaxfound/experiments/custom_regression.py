"""Gradient descent on five points: derivatives by hand, and the same ones by jax.grad."""

import numpy as np

import jaxfound as jf
from jaxfound.experiments.figures import BLUE, GREY, INK, ORANGE, panel
from jaxfound.experiments.race import race
from jaxfound.experiments.registry import Check, Result, lesson
from jaxfound.experiments.slope_intercept import FIVE_X, FIVE_Y

__all__ = ["run"]

LEARNING_RATE, N_ITERATIONS = 0.01, 1000


@lesson(
    name="custom-regression",
    title="Linear regression by gradient descent",
    question="Does a model trained by our gradients take the same path as one trained by hand?",
    meaning=(
        "A thousand steps with derivatives taken automatically and by hand end at the same "
        "place, to six digits or more. No one needs to derive gradients on paper to trust a "
        "result."
    ),
    order=50,
    tags=("regression", "gradient-descent"),
)
def run(quick: bool) -> Result:
    del quick  # a thousand steps on five points take no time
    timed = race(
        lambda: jf.GradientDescentRegressor(
            learning_rate=LEARNING_RATE, n_iterations=N_ITERATIONS
        ).fit(FIVE_X, FIVE_Y),
        {"NumPy": lambda: _descend_by_hand(FIVE_X, FIVE_Y)},
    )
    ours, (weight, bias, losses) = timed.ours.value, timed.theirs["NumPy"].value
    return Result(
        checks=(
            Check("weight", ours.coef_, weight, "NumPy", 1e-6),
            Check("bias", ours.intercept_, bias, "NumPy", 1e-6),
            Check("loss before each step", ours.loss_curve_, losses, "NumPy", 1e-6),
        ),
        figures={
            "The loss of a thousand steps": _draw_loss(ours.loss_curve_, losses),
            "The line after a thousand steps, and where it is heading": _draw_line(ours),
        },
        formula="dw = 1/n Xᵀ(ŷ − y)    db = 1/n Σ(ŷ − y)",
        notes=(
            "Both start at zero and step against the gradient of half the mean squared error: "
            "NumPy with the derivatives written by hand, jaxfound with those that jax.grad takes "
            "from the loss. A thousand steps do not quite reach the least squares line "
            "y = 0.60 x + 2.20, and both stop at the same distance from it."
        ),
        race=timed,
    )


def _descend_by_hand(x, y):
    weight, bias, losses = np.zeros(x.shape[1]), 0.0, []
    for _ in range(N_ITERATIONS):
        error = x @ weight + bias - y
        losses.append(np.mean(error**2) / 2)
        dw, db = x.T @ error / len(y), np.mean(error)
        weight, bias = weight - LEARNING_RATE * dw, bias - LEARNING_RATE * db
    return weight, bias, np.array(losses)


def _draw_loss(ours, by_hand):
    figure, axes = panel(xlabel="step", ylabel="half the mean squared error")
    steps = 1 + np.arange(len(ours))
    axes.loglog(steps, ours, color=BLUE, label="jaxfound, by jax.grad")
    axes.loglog(steps, by_hand, color=ORANGE, linestyle=(0, (2, 3)), label="NumPy, by hand")
    axes.legend()
    return figure


def _draw_line(model):
    figure, axes = panel(xlabel="x", ylabel="y")
    x = FIVE_X[:, 0]
    axes.plot(x, 0.6 * x + 2.2, color=GREY, linestyle="--", label="least squares")
    axes.plot(x, model.predict(FIVE_X), color=BLUE, label="gradient descent")
    axes.plot(x, FIVE_Y, "o", color=INK, label="data")
    axes.legend(loc="lower right")
    return figure
