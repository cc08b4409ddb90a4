"""ONE table of models. A row here brings a model under every law of `test_contract.py`."""

import dataclasses
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxfound.models import (
    forest,
    linear,
    linear_svm,
    logistic,
    pca,
    ridge,
    scaling,
    soft_tree,
    svm,
    tree,
)

N = 40
TOL = {"float32": 1e-6, "float64": 1e-12}  # asked of the iterative solvers


# --- data -------------------------------------------------------------------------------------


def features(rng, n=N, d=3):
    """Columns of different scales and means."""
    return rng.normal(size=(n, d)) * np.linspace(0.5, 2, d) + np.linspace(-1, 1, d)


def regression(rng, n=N, d=3, outputs=()):
    """Noisy targets; every second coefficient is negative."""
    x = features(rng, n, d)
    coef = rng.uniform(0.5, 2, (*outputs, d)) * (-1.0) ** np.arange(d)
    return x, x @ coef.T + 1 + 0.3 * rng.normal(size=(n, *outputs))


def rank_deficient(rng, n=N):
    """Four columns of rank two."""
    x, y = regression(rng, n, 2)
    return x @ np.array([[1.0, 0.0, 1.0, 2.0], [0.0, 1.0, 1.0, -1.0]]), y


def classes(rng, n=N, d=3, k=2):
    """Overlapping classes, every one of them present."""
    x = features(rng, n, d)
    y = (x @ rng.normal(size=(d, k)) + rng.gumbel(size=(n, k))).argmax(1)
    y[: 4 * k] = np.arange(4 * k) % k
    return x, y


# --- the row ----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A model, a setting of it, and data for it.

    The flags say which laws have something to say about it.
    """

    id: str
    module: Any
    config: Any = None
    hyper: Any = None
    data: Callable[..., tuple[np.ndarray, np.ndarray]] = regression
    slopes: tuple[str, ...] = ()  # the fields of `hyper` that move the params
    # The hyper for which weights `factor` times as large give the same params.
    rescaled: Callable[[Any, float], Any] = lambda hyper, factor: hyper
    classification: bool = False
    supervised: bool = True  # whether `y` has a meaning
    smooth: bool = True  # derivatives exist: not where the Hessian is singular
    twin: bool = False  # of another row: left out where a law compiles a program of its own
    over_mesh: bool = True  # rows on several devices stay there: not in a dual, where all meet
    by_share: bool = True  # scaled weights change nothing: not the size of a bootstrap sample
    hard: bool = False  # whole numbers are among the params, and nothing has a derivative
    minimum: bool = True  # ends at a minimum of `objective`: not `gd`, which may stop before
    tolerance: tuple[float, float] = (2e-4, 1e-8)  # relative, in float32 and float64

    def arrays(self, dtype, seed=0):
        """Rows, and weights 0, 1 and 2 whose sum is `N`."""
        rng = np.random.default_rng(seed)
        x, y = self.data(rng)
        weight = rng.permutation(np.resize([0, 1, 1, 2], N))
        kind = np.int32 if self.classification else dtype
        return x.astype(dtype), y.astype(kind), weight.astype(dtype)

    def hyper_as(self, dtype, factor=1.0):
        """`hyper` as arrays; `factor` multiplies the fields that move the params."""
        if self.hyper is None:
            return None
        moved = {name: np.multiply(getattr(self.hyper, name), factor) for name in self.slopes}
        hyper = self.hyper._replace(tol=TOL[dtype], **moved)
        return jax.tree.map(lambda value: jnp.asarray(value, dtype), hyper)

    def fit(self, x, y, weight=None, hyper=None, key=None, config=None):
        return self.module.fit(x, y, weight, hyper, key, config=config or self.config)

    def predict(self, params, x):
        """What is smooth in the params: scores, not labels."""
        return getattr(self.module, "decision", self.module.predict)(params, x)

    def flat(self, params):
        """The params as one vector."""
        return np.concatenate([np.ravel(leaf) for leaf in self.comparable(params)])

    def comparable(self, params):
        return getattr(self.module, "comparable", tuple)(params)

    def rtol(self, dtype):
        return self.tolerance[dtype == "float64"]


# --- the table --------------------------------------------------------------------------------


def _scale_l2(hyper, factor):
    return hyper._replace(l2=hyper.l2 * jnp.asarray(factor, hyper.l2.dtype))


def _scale_c(hyper, factor):
    return hyper._replace(C=hyper.C / jnp.asarray(factor, hyper.C.dtype))


def _fit_scaler(x, y, weight, hyper, key, *, config):
    del y, hyper, key, config
    return scaling.fit(x, weight), None  # a pass over the rows has nothing to report


# The scaler takes only rows and weights; this gives it the signature of the others.
_scaler = SimpleNamespace(
    fit=_fit_scaler,
    predict=scaling.transform,
    jitted=scaling.fit,
    comparable=lambda params: (params.mean + params.rest, params.var),
)

# Duals are one solution of many where rows are repeated; what they predict is unique.
_PROBES = np.random.default_rng(7).normal(size=(9, 3))
_machine = SimpleNamespace(
    fit=svm.fit,
    predict=svm.predict,
    decision=svm.decision,
    objective=svm.objective,
    jitted=svm.fit,
    comparable=lambda params: [svm.decision(params, jnp.asarray(_PROBES, params.x.dtype))],
)


def _fit_pca(x, y, weight, hyper, key, *, config):
    del y
    return pca.fit(x, weight, hyper or pca.Hyper(), key, config=config)


def _pca_objective(params, x, y, weight, hyper, *, config):
    del y
    return pca.objective(params, x, weight, hyper, config=config)


def _pca_comparable(params):
    # Variances over n, which do not depend on the size of the weights.
    share = (params.weight - 1) / params.weight
    return (params.mean, params.components, params.variance * share, params.total * share)


_pca = partial(
    Case,
    module=SimpleNamespace(
        fit=_fit_pca,
        predict=pca.transform,
        objective=_pca_objective,
        jitted=pca.jitted,
        comparable=_pca_comparable,
    ),
    hyper=pca.Hyper(),
    supervised=False,
)


def _hard(model, config, **settings):
    """Trees: equal ones have tables of different sizes, so that what they predict is compared."""

    def fit(x, y, weight, hyper, key, *, config):
        params, info = model.fit(x, y, weight, hyper or model.Hyper(), key, config=config)
        return params, info if model is tree else None  # in units of what was drawn

    def comparable(params):
        found = jax.tree.leaves(params)
        dtype = next(leaf.dtype for leaf in found if jnp.issubdtype(leaf.dtype, jnp.floating))
        return [model.shares(params, jnp.asarray(_PROBES, dtype))]

    module = SimpleNamespace(fit=fit, predict=model.shares, jitted=model.fit, comparable=comparable)
    return partial(
        Case, module=module, config=config, smooth=False, hard=True, over_mesh=False, **settings
    )


_linear = partial(Case, module=linear, hyper=linear.Hyper(learning_rate=0.1))
_ridge = partial(
    Case,
    module=ridge,
    hyper=ridge.Hyper(0.7, learning_rate=0.1),
    slopes=("l2",),
    rescaled=_scale_l2,
)
_logistic = partial(
    Case,
    module=logistic,
    hyper=logistic.Hyper(C=0.5),
    data=classes,
    slopes=("C",),
    rescaled=_scale_c,
    classification=True,
)
_three_classes = partial(_logistic, data=partial(classes, k=3))
_svc = partial(
    Case,
    module=_machine,
    hyper=svm.Hyper(C=0.8, gamma=0.3),
    data=classes,
    slopes=("C", "gamma"),
    rescaled=_scale_c,
    classification=True,
    minimum=False,  # the hinge has a kink there
    over_mesh=False,
    tolerance=(1e-3, 1e-7),
)
_margin = partial(
    Case,
    module=linear_svm,
    hyper=linear_svm.Hyper(C=0.5),
    data=classes,
    slopes=("C",),
    rescaled=_scale_c,
    classification=True,
)
_EXACT = ("auto", "cholesky", "svd", "cg")
_STEPS = (5e-3, 1e-6)  # Adam divides by what may be only rounding
_STOPS_FLAT = (2e-4, 1e-6)  # where the value no longer falls, half the digits of the params

CASES = (
    *(_linear(f"linear-{s}", config=linear.Config(s), twin=s != "auto") for s in _EXACT),
    _linear("linear-lbfgs", config=linear.Config("lbfgs"), tolerance=_STOPS_FLAT, twin=True),
    _linear("linear-positive", config=linear.Config(positive=True)),
    _linear("linear-no-intercept", config=linear.Config("cholesky", fit_intercept=False)),
    _linear(
        "linear-gd",
        config=linear.Config("gd", max_iter=60),
        slopes=("learning_rate",),
        minimum=False,
    ),
    _linear("linear-wide", config=linear.Config(), data=partial(regression, d=60), smooth=False),
    _linear("linear-rank-deficient", config=linear.Config(), data=rank_deficient, smooth=False),
    *(_ridge(f"ridge-{s}", config=ridge.Config(s)) for s in _EXACT),
    _ridge("ridge-lbfgs", config=ridge.Config("lbfgs"), tolerance=_STOPS_FLAT),
    _ridge("ridge-positive", config=ridge.Config(positive=True)),
    _ridge(
        "ridge-gd",
        config=ridge.Config("gd", max_iter=60),
        slopes=("l2", "learning_rate"),
        minimum=False,
    ),
    _ridge("ridge-wide", config=ridge.Config(), data=partial(regression, d=60)),
    _ridge(
        "ridge-targets", config=ridge.Config("cholesky"), data=partial(regression, outputs=(2,))
    ),
    _ridge(
        "ridge-per-feature",
        config=ridge.Config("cholesky"),
        hyper=ridge.Hyper(np.array([0.5, 1, 2])),
    ),
    *(_logistic(f"binary-{s}", config=logistic.Config(s)) for s in ("auto", "newton")),
    _logistic("binary-lbfgs", config=logistic.Config("lbfgs"), tolerance=_STOPS_FLAT),
    _logistic(
        "binary-gd",
        config=logistic.Config("gd", max_iter=60),
        slopes=("C", "learning_rate"),
        minimum=False,
    ),
    _logistic(
        "binary-proximal",
        config=logistic.Config("proximal", max_iter=2000),
        hyper=logistic.Hyper(C=0.5, l1_ratio=0.3),
        slopes=("C", "l1_ratio"),
    ),
    *(_three_classes(f"multinomial-{s}", config=logistic.Config(s, 3)) for s in ("auto", "newton")),
    _three_classes("multinomial-lbfgs", config=logistic.Config("lbfgs", 3), tolerance=_STOPS_FLAT),
    _three_classes(
        "multinomial-gd",
        config=logistic.Config("gd", 3, max_iter=60),
        slopes=("C", "learning_rate"),
        minimum=False,
    ),
    _three_classes(
        "multinomial-proximal",
        config=logistic.Config("proximal", 3, max_iter=2000),
        hyper=logistic.Hyper(C=0.5, l1_ratio=0.3),
        slopes=("C", "l1_ratio"),
    ),
    _svc("svc-rbf", config=svm.Config()),
    _svc("svc-scaled", config=svm.Config(), hyper=svm.Hyper(C=2.0), slopes=("C",)),
    _svc("svc-linear", config=svm.Config("linear"), slopes=("C",), smooth=False),
    _svc("svc-poly", config=svm.Config("poly"), hyper=svm.Hyper(0.5, 0.5, 1.0)),
    _svc("svc-three", config=svm.Config(n_classes=3), data=partial(classes, k=3)),
    _svc("svc-cut", config=svm.Config(n_classes=3, class_rows=N), data=partial(classes, k=3)),
    _svc(
        "svr-rbf",
        config=svm.Config(task="regression"),
        data=regression,
        slopes=("C", "gamma", "epsilon"),
        classification=False,
    ),
    _margin("linear-svm", config=linear_svm.Config()),
    _margin("linear-svm-three", config=linear_svm.Config(n_classes=3), data=partial(classes, k=3)),
    _margin("linear-svm-l1", config=linear_svm.Config(penalty="l1", max_iter=5000)),
    _margin(
        "linear-svm-hinge",
        config=linear_svm.Config("hinge", fit_intercept=False, max_iter=20_000),
        smooth=False,
        over_mesh=False,
        minimum=False,
        tolerance=(1e-3, 1e-7),
    ),
    Case("scaling", module=_scaler),
    Case(
        "soft-tree",
        soft_tree,
        soft_tree.Config(2, max_iter=20),
        soft_tree.Hyper(0.1),
        slopes=("l2", "learning_rate"),
        rescaled=_scale_l2,
        minimum=False,
        tolerance=_STEPS,
    ),
    Case(
        "soft-tree-classes",
        soft_tree,
        soft_tree.Config(2, 3, max_iter=20),
        soft_tree.Hyper(0.1),
        partial(classes, k=3),
        slopes=("l2", "learning_rate"),
        rescaled=_scale_l2,
        classification=True,
        minimum=False,
        tolerance=_STEPS,
    ),
    _hard(tree, tree.Config(n_classes=3), data=partial(classes, k=3), classification=True)("tree"),
    _hard(tree, tree.Config("squared_error", ()))("tree-regression"),
    _hard(
        forest,
        forest.Config(tree.Config(max_features=2), n_trees=4),
        data=classes,
        classification=True,
        by_share=False,
    )("forest"),
    *(_pca(f"pca-{s}", config=pca.Config(2, s)) for s in ("auto", "covariance_eigh", "full")),
    _pca("pca-randomized", config=pca.Config(2, "randomized", n_oversamples=1)),
    _pca("pca-gradient", config=pca.Config(2, "gradient"), tolerance=(2e-3, 1e-7)),
    _pca("pca-all", config=pca.Config(whiten=False)),
    _pca("pca-wide", config=pca.Config(3), data=partial(regression, d=60)),
)
