"""The sigmoid and its derivative: the curve on which logistic regression stands."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxfound.experiments.figures import BLUE, ORANGE, panel
from jaxfound.experiments.race import race
from jaxfound.experiments.registry import Check, Result, lesson

__all__ = ["run", "slope"]

slope = jax.jit(jax.vmap(jax.grad(jax.nn.sigmoid)))


@lesson(
    name="sigmoid",
    title="The sigmoid and its derivative",
    question="What turns a score into a probability?",
    meaning=(
        "The slope of this curve, found by differentiation of the code, is the textbook's. It is "
        "also why a classifier that is sure of itself learns little from one more example."
    ),
    order=40,
    tags=("calculus", "classification"),
)
def run(quick: bool) -> Result:
    z = np.linspace(-10, 10, 100_001 if quick else 1_000_001)
    with jax.enable_x64(True):
        curve = np.asarray(jax.nn.sigmoid(z))
        points = jnp.asarray(z)  # moved once: the race is about the computation
        timed = race(lambda: slope(points), {"NumPy": lambda: _slope_by_hand(z)})
    ours = np.asarray(timed.ours.value)
    return Result(
        checks=(
            Check("steepest slope", ours.max(), 0.25, "exact", 1e-12),
            Check("σ′(z)", ours, timed.theirs["NumPy"].value, "NumPy", 1e-12),
            Check("σ(z)", curve, 1 / (1 + np.exp(-z)), "NumPy", 1e-12),
            Check("σ(z) + σ(−z)", curve + curve[::-1], np.ones_like(z), "exact", 1e-12),
        ),
        figures={"The sigmoid and the slope that jax.grad finds": _draw(z, curve, ours)},
        formula="σ(z) = 1 / (1 + e⁻ᶻ)    σ′(z) = σ(z) (1 − σ(z))",
        notes=(
            "The sigmoid turns any number into a probability. Its derivative is largest at z = 0, "
            "where it is one quarter, and fades on both sides: a model that is sure of its answer "
            "hardly learns from it."
        ),
        race=timed,
    )


def _slope_by_hand(z):
    value = 1 / (1 + np.exp(-z))
    return value * (1 - value)


def _draw(z, curve, derivative):
    thin = slice(None, None, len(z) // 400)
    figure, axes = panel(xlabel="z", ylabel="value")
    axes.plot(z[thin], curve[thin], color=BLUE, label="σ(z)")
    axes.plot(z[thin], derivative[thin], color=ORANGE, label="σ′(z), by jax.grad")
    axes.legend(loc="upper left")
    return figure
