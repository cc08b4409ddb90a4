"""What the tests of sources share: ONE table of fits, data for them, and how it is cut."""

import dataclasses
from typing import Any

import numpy as np

from jaxfound import streaming
from jaxfound.models import linear, logistic, pca, ridge, scaling

N, D = 3000, 4


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A fit, the arguments that it takes in both places, and its targets."""

    id: str
    fit: Any
    y: str = "number"
    options: dict = dataclasses.field(default_factory=dict)
    tolerance: tuple[float, float] = (1e-5, 1e-11)  # relative, in float32 and float64

    def rtol(self, dtype):
        return self.tolerance[np.dtype(dtype) == np.float64]

    def in_memory(self, x, y, weight=None):
        return self.params(self.fit(*([x] if self.y == "none" else [x, y]), weight, **self.options))

    def streamed(self, rows):
        return self.params(streaming.fit(self.fit, rows, **self.options))

    def params(self, found):
        if self.fit is scaling.fit:
            return found.mean + found.rest, found.var, found.weight
        return tuple(found[0])


_two, _three = logistic.Config("newton"), logistic.Config("newton", n_classes=3)
CASES = (
    Case("linear", linear.fit),
    Case("linear-no-intercept", linear.fit, options={"config": ridge.Config(fit_intercept=False)}),
    Case("linear-svd", linear.fit, options={"config": ridge.Config("svd")}),
    Case("linear-positive", linear.fit, options={"config": ridge.Config(positive=True)}),
    Case("ridge", ridge.fit, options={"hyper": ridge.Hyper(3.0)}),
    Case("ridge-per-feature", ridge.fit, options={"hyper": ridge.Hyper(np.arange(1.0, 1 + D))}),
    Case("ridge-targets", ridge.fit, "numbers"),
    Case("logistic", logistic.fit, "two", {"config": _two}),
    Case("logistic-three", logistic.fit, "three", {"config": _three}),
    Case("pca", pca.fit, "none"),
    Case("pca-two", pca.fit, "none", {"config": pca.Config(2, "covariance_eigh", whiten=True)}),
    Case("pca-full", pca.fit, "none", {"config": pca.Config(2, "full")}),
    Case("scaling", scaling.fit, "none"),
)


def data(case, dtype="float64", n=N, mean=1.0, seed=0):
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(n, D)) * np.linspace(1, 2, D)).astype(dtype)
    noisy = x @ np.linspace(-1, 1, D) + rng.normal(size=n)
    targets = {
        "number": noisy.astype(dtype),
        "numbers": np.stack([noisy, x[:, 0]], 1).astype(dtype),
        "two": (noisy > 0).astype(np.int32),
        "three": np.digitize(noisy, [-0.5, 1]).astype(np.int32),
        "none": None,
    }
    weight = rng.integers(0, 3, n).astype(dtype)
    return x + np.asarray(mean, dtype), targets[case.y], weight


def in_blocks(*arrays, size=700):
    """Blocks of rows, whose last is shorter."""
    starts = range(0, len(arrays[0]), size)
    return [tuple(None if a is None else a[i : i + size] for a in arrays) for i in starts]


def assert_close(got, want, rtol):
    for a, b in zip(got, want, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max(initial=1e-3))


def labelled(kind, dtype="float64"):
    names = kind == "names"
    x, y, weight = data(Case("", None, "three" if names else kind), dtype)
    return x, np.array(["low", "middle", "high"])[y] if names else y, weight
