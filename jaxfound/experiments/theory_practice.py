"""From the formula to a working model: a thousand noisy points, standardised, split and fitted."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split

import jaxfound as jf
from jaxfound.experiments.figures import BLUE, GREY, ORANGE, panel
from jaxfound.experiments.race import race
from jaxfound.experiments.registry import Check, Result, lesson
from jaxfound.numerics.gradient import descend

__all__ = ["fit", "mean_squared_error", "run"]

LEARNING_RATE, N_STEPS = 0.01, 1000


def mean_squared_error(params, x, y):
    weight, bias = params
    return jnp.mean((x @ weight + bias - y) ** 2)


@partial(jax.jit, static_argnames="n_steps")
def fit(x, y, learning_rate, n_steps):
    """Gradient descent from zero on the mean squared error: the factor 2/n comes from jax.grad."""
    start = (jnp.zeros(x.shape[1], x.dtype), jnp.zeros((), x.dtype))
    optimizer = optax.sgd(learning_rate)
    return descend(mean_squared_error, start, x, y, optimizer=optimizer, n_steps=n_steps)


@lesson(
    name="theory-practice",
    title="From the formula to a working model",
    question=(
        "Does the formula still hold on a thousand noisy points, with everything done as in "
        "practice?"
    ),
    meaning=(
        "Scaled, split and trained step by step, the model reaches the line that scikit-learn "
        "computes in one step. Both errors on new points are the noise that was put in."
    ),
    order=60,
    tags=("regression", "gradient-descent", "model-selection"),
)
def run(quick: bool) -> Result:
    del quick  # a thousand steps on a line take no time
    x, y = _points()
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, random_state=42)
    scaler = jf.StandardScaler().fit(x_train)
    z_train, z_test = scaler.transform(x_train), scaler.transform(x_test)
    with jax.enable_x64(True):
        timed = race(
            lambda: fit(z_train, y_train, LEARNING_RATE, N_STEPS),
            {
                "NumPy": lambda: _descend_by_hand(z_train, y_train),
                "scikit-learn": lambda: LinearRegression().fit(z_train, y_train),
            },
        )
    (weight, bias), losses = jax.tree.map(np.asarray, timed.ours.value)
    by_hand, closed_form = timed.theirs["NumPy"].value, timed.theirs["scikit-learn"].value
    predicted = z_test @ weight + bias
    mse = np.mean((predicted - y_test) ** 2)
    mse_by_hand = np.mean((z_test @ by_hand[0] + by_hand[1] - y_test) ** 2)
    mse_closed_form = np.mean((closed_form.predict(z_test) - y_test) ** 2)
    return Result(
        checks=(
            Check("test MSE", mse, mse_by_hand, "NumPy", 1e-10),
            Check("test MSE", mse, mse_closed_form, "scikit-learn", 1e-6),
            Check("weight", weight, by_hand[0], "NumPy", 1e-10),
            Check("bias", bias, by_hand[1], "NumPy", 1e-10),
        ),
        figures={
            "A thousand points and the fitted line": _draw_line(
                x_train, y_train, x_test, y_test, predicted
            ),
            "The training error falls to the noise": _draw_loss(losses),
        },
        formula="∇MSE = 2/n Xᵀ(Xw + b − y)",
        notes=(
            "The points follow y = 2x + 1 with noise of standard deviation 1, and x is "
            "standardised with the mean and the scale of the training points alone. Descent on "
            "the mean squared error itself carries the factor 2/n in its gradient; after a "
            "thousand steps it has reached the least squares line of scikit-learn."
        ),
        race=timed,
    )


def _points():
    random = np.random.RandomState(42)  # the legacy stream: the numbers of the classic lesson
    x = 2 * random.rand(1000, 1)
    return x, 2 * x[:, 0] + 1 + random.randn(1000)


def _descend_by_hand(x, y):
    weight, bias = np.zeros(x.shape[1]), 0.0
    for _ in range(N_STEPS):
        error = x @ weight + bias - y
        dw, db = 2 / len(y) * x.T @ error, 2 / len(y) * error.sum()
        weight, bias = weight - LEARNING_RATE * dw, bias - LEARNING_RATE * db
    return weight, bias


def _draw_line(x_train, y_train, x_test, y_test, predicted):
    figure, axes = panel(xlabel="x", ylabel="y")
    axes.plot(x_train[:, 0], y_train, "o", color=GREY, alpha=0.35, markersize=4, label="training")
    axes.plot(x_test[:, 0], y_test, "o", color=ORANGE, alpha=0.7, markersize=4, label="test")
    ends = [x_test[:, 0].argmin(), x_test[:, 0].argmax()]
    axes.plot(x_test[ends, 0], predicted[ends], color=BLUE, linewidth=2.5, label="fitted line")
    axes.legend()
    return figure


def _draw_loss(losses):
    figure, axes = panel(xlabel="step", ylabel="mean squared error")
    axes.semilogy(losses, color=BLUE)
    axes.set(xlim=(0, 300))  # what follows is flat
    return figure
