"""RandomForestClassifier and RandomForestRegressor: pools of trees, side by side on all cores."""

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from sklearn import ensemble as reference
from sklearn.base import is_classifier
from sklearn.ensemble._bootstrap import _get_n_samples_bootstrap
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import accuracy_score, r2_score

from jaxfound._threads import cores, on_cores
from jaxfound.estimators import _nodes
from jaxfound.estimators._base import all_or_nothing
from jaxfound.estimators._growth import grown_pool, prepared
from jaxfound.estimators._scope import compute_scope
from jaxfound.estimators._tree_model import TreeModel
from jaxfound.estimators.tree import DecisionTreeClassifier, DecisionTreeRegressor
from jaxfound.models import forest, tree
from jaxfound.numerics import leaves

__all__ = ["RandomForestClassifier", "RandomForestRegressor"]


class _Forest(TreeModel):
    """What a classifier and a regressor of many trees share."""

    def _fit_forest(self, X, y, sample_weight, class_weight=None):
        given: Any = self
        in_bags = class_weight == "balanced_subsample"
        table = self._prepared(X, y, sample_weight, None if in_bags else class_weight)
        if given.oob_score and is_classifier(self) and self.n_outputs_ > 1:
            _check_judged(self._n_classes())
        first = self._first_new()
        n_new = given.n_estimators - first
        drawn = self._n_drawn(table)
        trees, config = self._tree_settings(table, drawn)
        hyper = forest.Hyper._make((trees, np.asarray(drawn or np.inf, table.dtype)))
        config = forest.Config(config, n_new, given.bootstrap, in_bags and given.bootstrap)
        with compute_scope(table.dtype):
            seed = np.asarray(_seeds(self._key(), given.n_estimators))
            ground = prepared(table, config)
            if n_new:
                new = self._pruned(self._grown(ground, hyper, seed[first:]))
                old = [self.params_] if first else []
                self.params_ = _nodes.joined([*old, new], given.n_estimators)
            rows, self._trees = ground.rows, None
            self._bag = (rows.weight, rows.weight_unit, hyper, seed)
            if given.oob_score:
                found = _out_of_bag(self.params_, ground.x, rows, hyper, seed)
                self._judge(table, *(np.asarray(part)[: len(table.x)] for part in found))
        return self

    def _meet_column(self) -> None:
        message = "A column-vector y was passed when a 1d array was expected: use ravel()."
        warnings.warn(message, DataConversionWarning, stacklevel=5)

    def _first_new(self):
        """How many trees there are already."""
        given: Any = self
        if not given.bootstrap and given.max_samples is not None:
            raise ValueError(
                "`max_sample` cannot be set if `bootstrap=False`. Either switch to "
                "`bootstrap=True` or set `max_sample=None`."
            )
        if not given.bootstrap and given.oob_score:
            raise ValueError("Out of bag estimation only available if bootstrap=True.")
        first = self.params_.root.size if given.warm_start and "params_" in vars(self) else 0
        if given.n_estimators < first:
            raise ValueError(
                f"n_estimators={given.n_estimators} must be larger or equal to the {first} trees "
                "that warm_start=True keeps."
            )
        if given.n_estimators == first:
            message = "Warm-start fitting without increasing n_estimators does not fit new trees."
            warnings.warn(message, stacklevel=4)
        return first

    def _n_drawn(self, table):
        given: Any = self
        if not given.bootstrap:
            return None
        n, weight = len(table.x), table.weight
        if given.max_samples is not None:
            return int(_get_n_samples_bootstrap(n, given.max_samples, weight))
        if weight is None:
            return n
        whole = (weight == np.round(weight)).all()
        return int(weight.sum() if whole else (weight > 0).sum())

    def _grown(self, ground, hyper, seed):
        """Pools of trees of the given seeds, as many at once as there are cores."""
        given: Any = self
        size = _pool_size(len(ground.rows.weight), len(seed), ground.config)
        pools = np.resize(seed, (-(-len(seed) // size), size))  # the last trees may be too many

        def one(seed):
            pool = _nodes.used(*grown_pool(ground, hyper, seed))
            advance(size)
            return pool

        with _bar(given.verbose, len(seed)) as advance:
            grown = _nodes.joined(on_cores(one, list(pools)), pools.size)
        nodes = tree.Params._make(leaf[0] for leaf in grown.nodes)
        return _nodes.in_order(nodes, np.asarray(grown.root[0, : len(seed)]))

    def _judge(self, table, total, count):
        """Predictions by the trees that have not seen a row."""
        given: Any = self
        if (count == 0).any():
            message = "Some inputs do not have OOB scores: too few trees to tell."
            warnings.warn(message, stacklevel=5)
        found = total / np.maximum(count, 1)[:, None, None]
        if is_classifier(self):
            k = max(self._n_classes())
            self.oob_decision_function_ = _squeezed(np.swapaxes(found[:, :, :k], 1, 2))
            decided = found.argmax(2)
        else:
            self.oob_prediction_ = _squeezed(found[:, :, 0])
            decided = found[:, :, 0]
        metric: Any = accuracy_score if is_classifier(self) else r2_score
        metric = given.oob_score if callable(given.oob_score) else metric
        self.oob_score_ = metric(table.y, _squeezed(decided))

    @property
    def estimators_(self) -> Any:
        """The trees, as estimators."""
        if "params_" not in vars(self):
            raise AttributeError(f"this {type(self).__name__} has no estimators_: call fit first.")
        if self._trees is None:
            self._trees = [self._tree(nodes) for nodes in _nodes.trees_of(self.params_)]
        return self._trees

    def _tree(self, nodes):
        given: Any = self
        own = DecisionTreeClassifier if is_classifier(self) else DecisionTreeRegressor
        one: Any = own(**{name: getattr(given, name) for name in given.estimator_params})
        one.params_, one.n_features_in_ = nodes, self.n_features_in_
        one.n_outputs_, one.max_features_ = self.n_outputs_, given.max_features
        if is_classifier(self):
            one.classes_, one.n_classes_ = self.classes_, self.n_classes_
        return one

    @property
    def feature_importances_(self) -> np.ndarray:
        """The decrease of impurity by each feature `[d]`, as a share of all."""
        self._check_fitted()
        return _nodes.importances(self.params_, self.n_features_in_)

    @property
    def estimators_samples_(self) -> list[np.ndarray]:
        """The rows that each tree has drawn."""
        self._check_fitted()
        weight, unit, hyper, seed = self._bag
        known = leaves.Rows._make((None, None, None, weight, unit, None, None))
        with compute_scope(unit.dtype):
            drawn = [np.asarray(_in_bag(known, hyper, one)) for one in seed]
        rows = np.arange(len(drawn[0]), dtype=np.int32)
        return [np.repeat(rows, counts) for counts in drawn]

    def apply(self, X: Any) -> Any:
        """The leaf of each row in every tree `[n t]`, a node of its `tree_`."""
        found = self._leaves(X)
        return found - self.params_.root[0]


class RandomForestClassifier(_Forest, reference.RandomForestClassifier):
    """Trees on bootstrap samples that look at a few features in every node.

    Takes the settings of scikit-learn's class of the same name, but for `monotonic_cst`; `n_jobs`
    is accepted for compatibility, all cores work. The same `random_state` gives the same forest on
    every device; the stream differs from NumPy's.

    Attributes:
      params_: the nodes of all trees, for `models.forest.predict`.
      estimators_: the trees as `DecisionTreeClassifier`.
      classes_: `[k]`; of several outputs a list.
      oob_score_, oob_decision_function_: where `oob_score` asks for them.
      n_classes_, n_outputs_, feature_importances_, estimators_samples_: as scikit-learn's.

    Example:
      >>> RandomForestClassifier(random_state=0).fit(X, y).predict_proba(X).shape
      (1000, 2)
    """

    @all_or_nothing
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "RandomForestClassifier":
        """Fits to `X` `[n d]`, where NaN is missing, and labels `y` `[n]` or `[n o]`.

        Raises:
          ValueError: for infinity, wrong shapes, or settings that are not supported.
        """
        return self._fit_forest(X, y, sample_weight, self.class_weight)

    def predict_proba(self, X: Any) -> Any:
        """Mean shares of the classes `[n k]`; of several outputs a list of these."""
        return self._probabilities(X)


class RandomForestRegressor(_Forest, reference.RandomForestRegressor):
    """The mean of trees on bootstrap samples.

    Takes the settings of scikit-learn's class of the same name, but for `monotonic_cst` and the
    criterion "absolute_error".

    Attributes:
      params_: the nodes of all trees, for `models.forest.predict`.
      estimators_: the trees as `DecisionTreeRegressor`.
      oob_score_, oob_prediction_: where `oob_score` asks for them.
      n_outputs_, feature_importances_, estimators_samples_: as scikit-learn's.

    Example:
      >>> RandomForestRegressor(random_state=0).fit(X, y).predict(X).shape
      (1000,)
    """

    @all_or_nothing
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "RandomForestRegressor":
        """Fits to `X` `[n d]`, where NaN is missing, and targets `y` `[n]` or `[n o]`.

        Raises:
          ValueError: for infinity, wrong shapes, or settings that are not supported.
        """
        return self._fit_forest(X, y, sample_weight)


_seeds = jax.jit(forest.seeds, static_argnums=1)
_out_of_bag = jax.jit(forest.out_of_bag)
_in_bag = jax.jit(forest.in_bag)


def _pool_size(n, n_trees, config):
    """So many trees in each pool that every core has as many pools."""
    most = forest.most_pooled(n, config)
    rounds = -(-n_trees // (most * cores()))
    return -(-n_trees // (rounds * cores()))


def _check_judged(n_classes):
    if max(n_classes) > 2:
        raise ValueError(
            "The type of target cannot be used to compute OOB estimates: y has several outputs of "
            f"{max(n_classes)} classes, expected 2 of each. Fit with oob_score=False."
        )


def _squeezed(values):
    return values[..., 0] if values.shape[-1] == 1 else values


@contextlib.contextmanager
def _bar(verbose, total) -> Iterator[Callable[[int], None]]:
    """A progress bar of trees, where it is asked for and there is a terminal to show it."""
    if not verbose or sys.stderr is None or not sys.stderr.isatty():
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("trees", total=total)
        yield lambda n: progress.advance(task, n)
