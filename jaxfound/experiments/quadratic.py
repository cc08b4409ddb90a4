"""A parabola, its derivative by automatic differentiation, and two walks down its slope."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxfound.experiments.figures import BLUE, INK, ORANGE, panel
from jaxfound.experiments.race import race
from jaxfound.experiments.registry import Check, Result, lesson

__all__ = ["parabola", "run", "slope", "walk"]

START, N_STEPS = 9.0, 12
TICKS = range(-10, 11, 5)
LEARNING_RATES = np.array([0.1, 0.9])


def parabola(x):
    return x**2


slope = jax.jit(jax.vmap(jax.grad(parabola)))


@jax.jit
def walk(start, learning_rates):
    """The places that gradient descent visits, one row per learning rate."""

    def descend(learning_rate):
        def step(x, _):
            return x - learning_rate * jax.grad(parabola)(x), x

        return jax.lax.scan(step, start, length=N_STEPS)[1]

    return jax.vmap(descend)(learning_rates)


@lesson(
    name="quadratic",
    title="A parabola and its derivative",
    question="How does a program know the slope of a function?",
    meaning=(
        "A derivative can be had from the code that computes a function, exact to rounding. "
        "Every fit in this course rests on that."
    ),
    order=10,
    tags=("calculus", "gradient-descent"),
)
def run(quick: bool) -> Result:
    x = np.linspace(-10, 10, 100_001 if quick else 1_000_001)
    with jax.enable_x64(True):
        points = jnp.asarray(x)  # moved once: the race is about the computation
        timed = race(lambda: slope(points), {"NumPy": lambda: 2 * x})
        visited = np.asarray(walk(START, LEARNING_RATES))
    # Each step multiplies x by 1 - 2 eta, so the whole walk is known.
    expected = START * (1 - 2 * LEARNING_RATES[:, None]) ** np.arange(N_STEPS)
    return Result(
        checks=(
            Check("f′(x)", timed.ours.value, 2 * x, "exact", 1e-12),
            Check("f′(x)", timed.ours.value, timed.theirs["NumPy"].value, "NumPy", 1e-12),
            Check("places of both walks", visited, expected, "exact", 1e-12),
        ),
        figures={
            "The parabola and the slope that jax.grad finds": _draw_slope(
                x[:: len(x) // 400], slope
            ),
            "Gradient descent from x = 9, twelve steps": _draw_walks(visited),
        },
        formula="f(x) = x²    f′(x) = 2x    xₖ₊₁ = xₖ − η f′(xₖ) = (1 − 2η) xₖ",
        notes=(
            "jax.grad differentiates the code of f, and jax.vmap evaluates the derivative on a "
            "whole grid at once. Gradient descent multiplies x by 1 − 2η at each step: a small "
            "rate (η = 0.1) slides down one side, a large one (η = 0.9) jumps across the valley, "
            "and both shrink by the same factor 0.8."
        ),
        race=timed,
    )


def _draw_slope(x, derivative):
    figure, axes = panel(xlabel="x", ylabel="value")
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xticks(TICKS)
    axes.plot(x, parabola(x), color=BLUE, label="f(x) = x²")
    axes.plot(x, derivative(x), color=ORANGE, label="f′(x), by jax.grad")
    axes.legend()
    return figure


def _draw_walks(visited):
    figure, axes = panel(xlabel="x", ylabel="f(x)")
    axes.set_xticks(TICKS)
    x = np.linspace(-10, 10, 400)
    axes.plot(x, parabola(x), color=INK, linewidth=1, alpha=0.5)
    for places, rate, colour in zip(visited, LEARNING_RATES, (BLUE, ORANGE), strict=True):
        axes.plot(
            places,
            parabola(places),
            "o-",
            color=colour,
            markersize=5,
            linewidth=1.2,
            label=f"η = {rate}",
        )
    axes.legend()
    return figure
