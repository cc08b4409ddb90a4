"""Displays of what a fitted estimator makes of its inputs, in scikit-learn's `Display` style.

Every display is made by `from_estimator`, keeps the numbers as attributes, draws them again with
`plot`, and has the Matplotlib objects as `ax_` (or `axes_`) and `figure_`.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.stats.mstats import mquantiles
from sklearn.base import is_classifier
from sklearn.utils import check_consistent_length, check_random_state

from jaxfound._checks import check_choice, check_whole
from jaxfound.estimators._base import give_back
from jaxfound.estimators._drawing import (
    BLUE,
    GREY,
    Score,
    as_target,
    bars,
    inputs,
    names,
    new_axes,
    on_device,
)
from jaxfound.estimators._fitted import fitted
from jaxfound.estimators._scope import compute_scope
from jaxfound.inspect import attribution, dependence, importance
from jaxfound.model_selection.scoring import as_scorers

__all__ = ["AttributionDisplay", "PartialDependenceDisplay", "PermutationImportanceDisplay"]

_MOST_IMAGES = 8


class AttributionDisplay:
    """Which inputs the score of a class, or a prediction, comes from.

    Attributes:
      values: `[n ...]`, one number an input, in units of the score.
      residual: `[n]`, what integrated gradients lack to the whole difference; None for gradients.
    """

    def __init__(self, values: Any, residual: Any, inputs: Any, feature_names: Any):
        self.values, self.residual = values, residual
        self.inputs, self.feature_names = inputs, feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        target: Any = None,
        method: str = "integrated_gradients",
        baseline: Any = None,
        n_steps: int = 32,
        feature_names: Any = None,
        ax: Any = None,
    ) -> "AttributionDisplay":
        """Explains the rows `X` `[n d]`, or images `[n h w]` of a network.

        Args:
          estimator: fitted; a differentiable model of jaxfound, or a pipeline that ends in one.
          target: which class, an index into `classes_`, one or one a row; None is the predicted.
          method: "integrated_gradients" or "gradient".
          baseline: where the path starts; None is zero.
          n_steps: gradients along the path.

        Raises:
          ValueError, TypeError: for what is not fitted, not differentiable, or not finite.
        """
        check_choice("method", method, ("integrated_gradients", "gradient"))
        scorer, params = fitted(estimator)
        x, dtype = inputs(estimator, X)
        with compute_scope(dtype):
            params, rows = on_device(params, dtype), jnp.asarray(x)
            if method == "gradient":
                found = attribution.input_gradients(scorer, params, rows, target), None
            else:
                start = None if baseline is None else jnp.asarray(baseline, dtype)
                found = attribution.integrated_gradients(
                    scorer, params, rows, start, target, n_steps=n_steps
                )
            values, residual = give_back(tuple(found), x)
        known = None if values.ndim > 2 else names(feature_names, X, values.shape[1])
        return cls(values, residual, x, known).plot(ax=ax)

    def plot(self, ax: Any = None) -> "AttributionDisplay":
        """Bars for a table: signed for one row, the mean size for more; heat maps for images."""
        if self.values.ndim > 2:
            return self._plot_images()
        self.ax_, self.figure_ = new_axes(ax)
        one = len(self.values) == 1
        size = self.values[0] if one else np.abs(self.values).mean(0)
        bars(self.ax_, size, self.feature_names)
        self.ax_.set_xlabel("attribution" if one else "mean size of attribution")
        return self

    def _plot_images(self):
        import matplotlib.pyplot as plt

        shown = min(len(self.values), _MOST_IMAGES)
        size: dict[str, Any] = {"figsize": (1.3 * shown, 2.7), "layout": "constrained"}
        self.figure_, self.axes_ = plt.subplots(2, shown, squeeze=False, **size)
        for column, image, value in zip(self.axes_.T, self.inputs, self.values, strict=False):
            heat = value.sum(-1)
            most = np.abs(heat).max()
            column[0].imshow(image.squeeze(), cmap="gray_r")
            column[1].imshow(heat, cmap="RdBu_r", vmin=-most, vmax=most)
        for one in self.axes_.flat:
            one.set_axis_off()
        return self


class PermutationImportanceDisplay:
    """What a score loses when a column is shuffled.

    Attributes:
      importances: `[d r]`, with the numbers of `sklearn.inspection.permutation_importance` for
        the same `random_state`.
      importances_mean, importances_std: `[d]`.
    """

    def __init__(self, importances: Any, feature_names: Any):
        self.importances, self.feature_names = importances, feature_names
        self.importances_mean = importances.mean(1)
        self.importances_std = importances.std(1)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        scoring: Any = None,
        n_repeats: int = 5,
        random_state: Any = None,
        sample_weight: Any = None,
        feature_names: Any = None,
        ax: Any = None,
    ) -> "PermutationImportanceDisplay":
        """Shuffles each column of `X` `[n d]` `n_repeats` times.

        Args:
          estimator: fitted.
          scoring: a name or a jittable metric; None is "accuracy" or "r2".
          random_state: an integer gives scikit-learn's permutations.
        """
        ((_, scorer),) = as_scorers(scoring or ("accuracy" if is_classifier(estimator) else "r2"))
        score, params = fitted(estimator, scorer.output)
        x, dtype = inputs(estimator, X)
        check_consistent_length(X, y, sample_weight)
        orders = _permutations(len(x), check_whole("n_repeats", n_repeats, least=1), random_state)
        with compute_scope(dtype):
            found = importance.permutation_importance(
                Score(score, scorer),
                on_device(params, dtype),
                jnp.asarray(x),
                jnp.asarray(as_target(getattr(estimator, "classes_", None), y, dtype)),
                jnp.asarray(orders),
                None if sample_weight is None else jnp.asarray(sample_weight, dtype),
            )
            values = give_back(found.values, x)
        return cls(values, names(feature_names, X, x.shape[1])).plot(ax=ax)

    def plot(self, ax: Any = None) -> "PermutationImportanceDisplay":
        """One box a column, the most important on top."""
        self.ax_, self.figure_ = new_axes(ax)
        order = np.argsort(self.importances_mean)
        labels = [self.feature_names[i] for i in order]
        self.ax_.boxplot(self.importances[order].T, orientation="horizontal", tick_labels=labels)
        self.ax_.axvline(0, color=GREY, linewidth=1)
        self.ax_.set_xlabel("loss of score")
        return self


class PartialDependenceDisplay:
    """How the prediction moves with a column, averaged over the rows.

    Attributes:
      grids: for every feature the values `[g]`.
      averages: for every feature the mean prediction `[g]`.
      individuals: for every feature one curve a row `[g n]`.
    """

    def __init__(self, grids: Any, averages: Any, individuals: Any, feature_names: Any):
        self.grids, self.averages, self.individuals = grids, averages, individuals
        self.feature_names = feature_names

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        features: Any,
        *,
        target: int = -1,
        grid_resolution: int = 100,
        percentiles: tuple[float, float] = (0.05, 0.95),
        sample_weight: Any = None,
        feature_names: Any = None,
        kind: str = "average",
    ) -> "PartialDependenceDisplay":
        """Sets each of the `features` (indices) to the values of a grid, in all rows of `X`.

        Args:
          estimator: fitted.
          target: of a classifier, the class whose probability is drawn, an index; machines have
            decisions instead. The last by default.
          grid_resolution, percentiles: as in `sklearn.inspection.partial_dependence`.
          kind: "average", or "both" to draw a curve for every row too.
        """
        check_choice("kind", kind, ("average", "both"))
        has_proba = is_classifier(estimator) and hasattr(estimator, "predict_proba")
        scorer, params = fitted(estimator, "predict_proba" if has_proba else "decision")
        x, dtype = inputs(estimator, X)
        grids = [_grid(x[:, f], percentiles, grid_resolution) for f in features]
        curves = []
        with compute_scope(dtype):
            given = scorer, on_device(params, dtype), jnp.asarray(x)
            weight = None if sample_weight is None else jnp.asarray(sample_weight, dtype)
            for feature, grid in zip(features, grids, strict=True):
                where = jnp.asarray([feature]), jnp.asarray(grid)[:, None]
                found = dependence.partial_dependence(*given, *where, weight)
                of_target = [f[..., target] if has_proba else f for f in found]
                curves.append(give_back(of_target, x))
        averages, individuals = zip(*curves, strict=True)
        known = names(feature_names, X, x.shape[1])
        return cls(grids, averages, individuals, [known[f] for f in features]).plot(kind=kind)

    def plot(self, axes: Any = None, *, kind: str = "average") -> "PartialDependenceDisplay":
        """One panel a feature."""
        import matplotlib.pyplot as plt

        if axes is None:
            many = len(self.grids)
            size: dict[str, Any] = {"figsize": (3.2 * many, 3.0), "layout": "constrained"}
            _, axes = plt.subplots(1, many, sharey=True, squeeze=False, **size)
        self.axes_ = np.atleast_1d(axes).ravel()
        self.figure_ = self.axes_[0].figure
        panels = self.axes_, self.grids, self.averages, self.individuals, self.feature_names
        for ax, grid, average, individual, name in zip(*panels, strict=True):
            if kind == "both":
                ax.plot(grid, individual, color=GREY, linewidth=0.5, alpha=0.3)
            ax.plot(grid, average, color=BLUE, linewidth=2)
            ax.set_xlabel(name)
        self.axes_[0].set_ylabel("partial dependence")
        return self


def _permutations(n, repeats, random_state):
    """The orders `[r n]` of scikit-learn: each shuffles what the one before has left."""
    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max + 1)
    shuffle, order, orders = check_random_state(seed).shuffle, np.arange(n), []
    step = np.arange(n)
    for _ in range(repeats):
        shuffle(step)
        order = order[step]
        orders.append(order)
    return np.array(orders)


def _grid(column, percentiles, resolution):
    known = np.unique(column)
    if len(known) < resolution:
        return known
    low, high = mquantiles(column, prob=percentiles)
    return np.linspace(low, high, resolution).astype(column.dtype)
