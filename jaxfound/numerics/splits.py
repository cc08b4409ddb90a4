r"""What a split gains: the decrease of impurity, from whole-number sums, the same bits everywhere.

A candidate sends the weight $n_L$ of $N$ to the left, and of each channel (a class, or a target)
the sum $L$ of $T$. Compilers differ in two liberties, and are given neither: a product that is
added to something is first rounded by itself (`rounded`), so that the two are never fused, and
nothing is divided by a number that is spread over an array, which XLA multiplies by the inverse.
"""

import dataclasses
import itertools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxfound._types import Array, Float, Int
from jaxfound.numerics.ordinal import largest

__all__ = [
    "CRITERIA",
    "Channels",
    "Criterion",
    "Sums",
    "allowed",
    "best_candidate",
    "gain",
    "log2",
    "rounded",
    "take_feature",
]

Criterion = Literal["gini", "entropy", "squared_error", "poisson"]
CRITERIA = ("gini", "entropy", "squared_error", "poisson")
_UNROLLED = 3  # channels up to which their loop is written out
NO_GAIN = -1.0  # of a candidate that is not allowed; a real one gains at least nothing


@dataclasses.dataclass(frozen=True)
class Channels:
    """What is summed beside the weight: static."""

    criterion: Criterion
    classes: tuple[int, ...]  # one number an output; empty for a regression
    targets: int = 0  # of a regression

    @property
    def outputs(self) -> int:
        return len(self.classes) or self.targets

    @property
    def per_output(self) -> tuple[int, ...]:
        """Of each output, how many classes are looked at: of two, one tells all (for Gini)."""
        if not self.classes:
            return (1,) * self.targets
        return tuple(1 if k == 2 and self.criterion == "gini" else k for k in self.classes)

    @property
    def chosen(self) -> tuple[int, ...]:
        """The columns that are looked at, counted over all outputs."""
        ends = itertools.accumulate(self.classes or self.per_output)
        chosen = (range(end - k, end) for end, k in zip(ends, self.per_output, strict=True))
        return tuple(itertools.chain(*chosen))

    @property
    def factors(self) -> tuple[float, ...]:
        """How often each of them counts."""
        halved = zip(self.classes or self.per_output, self.per_output, strict=True)
        return tuple(k / looked for k, looked in halved for _ in range(looked))


class Sums(NamedTuple):
    """Of one channel: over the rows to the left `[m k p]`, and over all rows `[m 1 1]`."""

    left: Any
    total: Any
    centre: Any  # the value is `centre + sum / weight / scale`, for Poisson
    scale: Any
    factor: Any


class _Weights(NamedTuple):
    left: Any
    right: Any
    total: Any
    share: Any  # 1 / total


def gain(
    criterion: Criterion, left: Float[Array, "m k p"], total: Float[Array, "m 1 1"], sums: Sums
) -> Float[Array, "m k p"]:
    r"""What candidates decrease: $i(t) - \frac{n_L}N i(t_L) - \frac{n_R}N i(t_R)$, i the impurity.

    Args:
      left: the weight to the left; that of a candidate is inside (0, total).
      total: the weight of the node.
      sums: of all channels, stacked.

    Returns:
      `[m k p]`; not a number where a side is empty.

    Reference: L. Breiman et al., Classification and Regression Trees, 1984, definition 2.13.
    """
    term, c = _TERMS[criterion], len(sums.left)
    weight = _Weights(left, total - left, total, 1 / total)

    def add(so_far, channel):
        return so_far + rounded(channel.factor * term(weight, channel)), None

    # A loop, so that the program does not grow with the classes.
    unroll = c if c <= _UNROLLED else 1
    found = jax.lax.scan(add, jnp.zeros_like(left), sums, unroll=unroll)[0]
    if term is _spread:
        found = found * ((weight.left * weight.share) * (weight.right * weight.share))
    return found


def best_candidate(
    score: Float[Array, "m k p"], code: Int[Array, "m k p"]
) -> tuple[Float[Array, " m"], Int[Array, " m"], Int[Array, " m"]]:
    """The largest score, its place among the features, and the smallest code that attains it.

    Ties go to the first feature, then to the lowest code, whatever the order of candidates.
    """
    of_feature = largest(score)
    best = of_feature.max(-1)
    k = score.shape[1]
    place = jnp.where(of_feature == best[:, None], jnp.arange(k, dtype=jnp.int32), k - 1).min(-1)
    own = take_feature(score, place)
    least = jnp.where(own == best[:, None], take_feature(code, place), 255).min(-1)
    return best, place, least


def take_feature(values: Array, place: Int[Array, " m"]) -> Array:
    """Of `[m k p]` the chosen feature `[m p]`."""
    m, k, p = values.shape
    row = jnp.arange(m, dtype=jnp.int32) * k + place
    return values.reshape(m * k, p).at[row].get(mode="promise_in_bounds")


def allowed(
    score: Float[Array, "m k p"], least_side: Float[Array, "m k p"], least: Any
) -> Float[Array, "m k p"]:
    """The score where the lighter side is heavy enough, else `NO_GAIN`."""
    return jnp.where(least_side >= least, score, jnp.asarray(NO_GAIN, score.dtype))


def rounded(x: Float[Array, "*s"], bits: int = 3) -> Float[Array, "*s"]:
    """Without its last bits. What matters is a step of its own, never fused into a sum."""
    kind = jnp.finfo(x.dtype)
    return jax.lax.reduce_precision(x, int(kind.nexp), int(kind.nmant) - bits)


def _spread(weight, sums):
    r"""Gini and squared error: $(\bar y_L - \bar y_R)^2$, to be times $\frac{n_L}N\frac{n_R}N$."""
    apart = sums.left / weight.left - (sums.total - sums.left) / weight.right
    return apart * apart


def _information(weight, sums):
    """Entropy in bits."""

    def side(part, whole):
        return rounded(part * weight.share * log2(part / whole))

    both = side(sums.left, weight.left) + side(sums.total - sums.left, weight.right)
    return both - side(sums.total, weight.total)


def _poisson(weight, sums):
    r"""Half the Poisson deviance: $\sum_s \frac{n_s}N \bar y_s \log\bar y_s - \bar y\log\bar y$."""

    def side(part, whole):
        mean = sums.centre + part / whole / sums.scale
        value = rounded(
            whole * weight.share * rounded(mean * (log2(mean) * jnp.float32(0.6931472)))
        )
        # A rate of zero says that more is impossible: no leaf may have it. Half a step is none.
        return jnp.where(mean * sums.scale > 0.5, value, -jnp.inf)

    both = side(sums.left, weight.left) + side(sums.total - sums.left, weight.right)
    return both - side(sums.total, weight.total)


def log2(x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """Of float32, by the same steps on every device; 0 for 0, which it multiplies."""
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    exponent = (bits >> 23) - 127
    mantissa = jax.lax.bitcast_convert_type((bits & 0x7FFFFF) | 0x3F800000, jnp.float32)
    large = mantissa > 1.4142135
    mantissa = jnp.where(large, mantissa * 0.5, mantissa)
    exponent = (exponent + large.astype(jnp.int32)).astype(jnp.float32)
    ratio = (mantissa - 1) / (mantissa + 1)  # log m = 2 artanh(ratio)
    square = ratio * ratio
    series = jnp.zeros_like(x)
    for coefficient in _ARTANH:
        series = rounded(series * square, 1) + coefficient
    return jnp.where(x > 0, exponent + rounded(series * ratio, 1), 0)


_ARTANH = [2 / ((2 * i + 1) * 0.6931471805599453) for i in reversed(range(5))]  # 2 log2(e) / (2i+1)
_TERMS = {
    "gini": _spread,
    "entropy": _information,
    "squared_error": _spread,
    "poisson": _poisson,
}
