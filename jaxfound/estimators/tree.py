"""DecisionTreeClassifier and DecisionTreeRegressor."""

from typing import Any

import jax
import numpy as np
from sklearn import tree as reference

from jaxfound.estimators import _nodes
from jaxfound.estimators._base import all_or_nothing
from jaxfound.estimators._growth import grown_pool, prepared
from jaxfound.estimators._scope import compute_scope
from jaxfound.estimators._tree_model import TreeModel
from jaxfound.models import forest

__all__ = ["DecisionTreeClassifier", "DecisionTreeRegressor"]


class _Tree(TreeModel):
    """What a classifier and a regressor of one tree share."""

    def _fit_tree(self, X, y, sample_weight, class_weight=None):
        table = self._prepared(X, y, sample_weight, class_weight)
        hyper, config = self._tree_settings(table)
        alone = forest.Config(config, n_trees=1, bootstrap=False)
        with compute_scope(table.dtype):
            seed = np.asarray(jax.random.bits(self._key(), (1,), np.uint32))
            hyper = forest.Hyper._make((hyper, np.asarray(np.inf, table.dtype)))
            grown = grown_pool(prepared(table, alone), hyper, seed)
        nodes = self._pruned(_nodes.in_order(*grown))
        self.max_features_ = config.max_features or self.n_features_in_
        (self.params_,) = _nodes.trees_of(nodes)
        return self

    @property
    def tree_(self) -> Any:
        """scikit-learn's view of the tree."""
        self._check_fitted()
        return _nodes.view(self.params_, self.n_features_in_, self._n_classes())

    def apply(self, X: Any, check_input: bool = True) -> Any:
        """The leaf `[n]` of each row, a node of `tree_`."""
        del check_input
        return self._leaves(X)


class DecisionTreeClassifier(_Tree, reference.DecisionTreeClassifier):
    """A tree of splits `x[feature] <= threshold`, grown until its leaves are pure.

    Takes the settings of scikit-learn's class of the same name, but for `splitter="random"` and
    `monotonic_cst`. Features with more than 255 distinct values are split between bins of them. The
    same `random_state` gives the same tree on every device; the stream differs from NumPy's.

    Attributes:
      params_: the nodes, for `models.tree.predict`.
      tree_: the same, as scikit-learn's `Tree`; for `plot_tree`, `export_text` and their kin.
      classes_: `[k]`; of several outputs a list.
      n_classes_, n_outputs_, max_features_, feature_importances_: as scikit-learn's.

    Example:
      >>> DecisionTreeClassifier().fit([[0.0], [1.0]], ["a", "b"]).predict([[0.9]])
      array(['b'], dtype='<U1')
    """

    @all_or_nothing
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, check_input: bool = True
    ) -> "DecisionTreeClassifier":
        """Fits to `X` `[n d]`, where NaN is missing, and labels `y` `[n]` or `[n o]`.

        Raises:
          ValueError: for infinity, wrong shapes, or settings that are not supported.
        """
        del check_input
        return self._fit_tree(X, y, sample_weight, self.class_weight)

    def predict_proba(self, X: Any, check_input: bool = True) -> Any:
        """Shares of the classes in the leaf of each row `[n k]`; of several outputs a list."""
        del check_input
        return self._probabilities(X)


class DecisionTreeRegressor(_Tree, reference.DecisionTreeRegressor):
    """A tree of splits `x[feature] <= threshold`, whose leaves predict means.

    Takes the settings of scikit-learn's class of the same name, but for `splitter="random"`,
    `monotonic_cst` and the criterion "absolute_error".

    Attributes:
      params_: the nodes, for `models.tree.predict`.
      tree_: the same, as scikit-learn's `Tree`; for `plot_tree`, `export_text` and their kin.
      n_outputs_, max_features_, feature_importances_: as scikit-learn's.

    Example:
      >>> DecisionTreeRegressor().fit([[0.0], [1.0]], [2.0, 3.0]).predict([[0.9]])
      array([3.])
    """

    @all_or_nothing
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, check_input: bool = True
    ) -> "DecisionTreeRegressor":
        """Fits to `X` `[n d]`, where NaN is missing, and targets `y` `[n]` or `[n o]`.

        Raises:
          ValueError: for infinity, wrong shapes, or settings that are not supported.
        """
        del check_input
        return self._fit_tree(X, y, sample_weight)
