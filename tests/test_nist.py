"""Correct digits on ill-conditioned least squares, against certified and exact answers."""

import json
from fractions import Fraction
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxfound.models import linear

MOST = 15.0  # digits of a float64
SETS = json.loads((Path(__file__).parent / "data" / "nist_strd.json").read_text("utf-8"))


def load(name):
    """The design, the targets and the certified coefficients, the intercept last."""
    known = SETS[name]
    y = np.array(known["y"], float)
    x = np.array(known["x"], float).reshape(len(y), -1)
    if known["model"].startswith("polynomial"):
        x = x ** np.arange(1, known["n_par"])
    certified = [row["estimate"] for row in sorted(known["certified"], key=lambda row: row["i"])]
    return x, y, np.roll(certified, -1) if known["intercept"] else np.array(certified)


def least_squares(x, y):
    """Coefficients and intercept by the normal equations in rational arithmetic."""
    rows = [[*map(Fraction, row), Fraction(1)] for row in x.tolist()]
    targets = list(map(Fraction, y.tolist()))
    columns = list(zip(*rows, strict=True))
    system = [[sum(map(Fraction.__mul__, a, b)) for b in (*columns, targets)] for a in columns]
    for p, pivot in enumerate(system):  # positive definite: no pivot is zero
        pivot[:] = [value / pivot[p] for value in pivot]
        for row in system:
            if row is not pivot:
                row[:] = [a - row[p] * b for a, b in zip(row, pivot, strict=True)]
    return np.array([float(row[-1]) for row in system])


def correct_digits(got, want):
    """The log relative error of the worst coefficient (absolute where it should be zero)."""
    error = np.abs(got - want) / np.where(want == 0, 1, np.abs(want))
    return np.minimum(MOST, -np.log10(np.maximum(error, 10**-MOST))).min()


def fit(x, y, solver, intercept=True):
    config = linear.Config(solver, fit_intercept=intercept)
    params, info = linear.fit(jnp.asarray(x), jnp.asarray(y), config=config)
    assert info.converged
    assert params.coef.dtype == x.dtype
    coef = np.asarray(params.coef, float)
    return np.append(coef, float(params.intercept)) if intercept else coef


def powers(t, degree):
    return t[:, None] ** np.arange(1.0, degree + 1)


DIGITS = {
    "Norris": 12,
    "NoInt1": 14,
    "NoInt2": 14,
    "Longley": 12,
    "Wampler1": 9,
    "Wampler2": 9,
    "Wampler3": 9,
}


@pytest.mark.parametrize("solver", ["auto", "cholesky", "svd"])
@pytest.mark.parametrize("name", DIGITS)
def test_certified_digits_in_float64(x64, name, solver):
    x, y, certified = load(name)
    got = fit(x, y, solver, SETS[name]["intercept"])
    assert correct_digits(got, certified) >= DIGITS[name]


# Wampler2's targets are no float32 numbers; the squares of the others' conditions are too large
# for a Gram matrix in float32, but not for `auto`, which sees it.
@pytest.mark.parametrize("solver", ["auto", "svd"])
@pytest.mark.parametrize("name", ["Norris", "NoInt1", "NoInt2", "Longley", "Wampler1", "Wampler3"])
def test_three_digits_in_float32(name, solver):
    x, y, certified = load(name)
    narrow = x.astype(np.float32), y.astype(np.float32)
    got = fit(*narrow, solver, SETS[name]["intercept"])
    assert correct_digits(got, certified) >= 3


def filip(rng):
    """A polynomial of degree 10 on [-8.8, -3.1]: the powers have condition number 1e15."""
    t = np.round(rng.uniform(-8.8, -3.1, 82), 6)
    return powers(t, 10), np.round(0.8 + 0.1 * np.sin(t) + 0.003 * rng.standard_normal(82), 4)


def wampler(scale):
    """Wampler3 with larger residuals: they square the condition number."""
    residual = [759, -2048, 2048, -2048, 2523, -2048, 2048, -2048, 1838, -2048, 2048]
    x = powers(np.arange(21.0), 5)
    return x, 1 + x.sum(1) + scale * np.array(residual + residual[-2::-1])


@pytest.mark.parametrize(
    ("data", "digits"),
    [(filip(np.random.default_rng(0)), 7), (wampler(100), 9), (wampler(10_000), 7)],
    ids=["filip", "wampler4", "wampler5"],
)
@pytest.mark.parametrize("solver", ["auto", "svd"])
def test_digits_against_rational_arithmetic(x64, data, digits, solver):
    x, y = data
    assert correct_digits(fit(x, y, solver), least_squares(x, y)) >= digits
