"""What a fitted model says about itself: its inputs, its rows, its coefficients, its errors.

Pure functions of a model's `Params`. A *scorer* below is any function of `(params, x)` to `[n]` or
`[n k]`, such as `logistic.decision`; it is static, so hand over one that is defined once.
"""

from jaxfound.inspect import (
    attribution,
    bootstrap,
    conformal,
    dependence,
    importance,
    influence,
    uncertainty,
)

__all__ = [
    "attribution",
    "bootstrap",
    "conformal",
    "dependence",
    "importance",
    "influence",
    "uncertainty",
]
